"""What a question is, and how an answer to it is judged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module

import numpy as np
from numpy.random import Generator

from dualkit._validate import Array

Instance = dict[str, Array | float]
Answer = Mapping[str, Array]
LARGEST = 1e50  # so that products of a few entries are finite
NAMES = ("hw1", "hw2", "hw3", "hw4", "project")


@dataclass(frozen=True)
class Condition:
    """One thing an answer must satisfy.

    Attributes
    ----------
    text : str
        The condition and the number found, in words: "Lambda must satisfy ||X^T Lambda|| <= beta, found 1.2 beta".
    holds : bool
    weight : float
        Share of the question's points; the weights of a right answer add up to one.
    """

    text: str
    holds: bool
    weight: float = 0.0


@dataclass(frozen=True)
class Verdict:
    """The conditions that were looked at; printing it says which hold.

    Attributes
    ----------
    conditions : tuple of Condition
    """

    conditions: tuple[Condition, ...]

    @property
    def fraction(self) -> float:
        """Share of the points, between 0 and 1."""
        return min(1.0, round(sum(c.weight for c in self.conditions if c.holds), 9))

    def __str__(self) -> str:
        lines = [f"[{'ok' if c.holds else '--'}] {c.text}" for c in self.conditions]
        return "\n".join([*lines, f"{100 * self.fraction:.0f} % of this question"])


@dataclass(frozen=True)
class Question:
    """A question that a function answers.

    Attributes
    ----------
    name : str
        "hw1-q1": the assignment's name, a hyphen, the question's.
    title : str
    points : int
        Of the 100 of the assignment.
    draw : callable
        Takes a Generator and returns the instance: arguments of the student's function by name, arrays and floats.
    shapes : callable
        Takes the instance and returns the answer's arrays by name, each with its shape; None stands for any length
        up to `most`.
    verify : callable
        Takes instance and answer, yields conditions, and may stop after one that fails. It never compares with a
        solution, and raises for no answer of these shapes.
    most : int
        The largest length that None in a shape allows.
    """

    name: str
    title: str
    points: int
    draw: Callable[[Generator], Instance]
    shapes: Callable[[Instance], dict[str, tuple[int | None, ...]]]
    verify: Callable[[Instance, Answer], Iterator[Condition]]
    most: int = 200


@dataclass(frozen=True)
class Proof:
    """A question that is graded by hand.

    Attributes
    ----------
    name, title : str
    points : int
    criteria : tuple of str
        What is looked for, with points; no answer.
    """

    name: str
    title: str
    points: int
    criteria: tuple[str, ...]


@dataclass(frozen=True)
class Assignment:
    """A set of questions.

    Attributes
    ----------
    name, title : str
    goals : tuple of str
        What a student can do afterwards.
    hours : float
        Estimated working time.
    imports : tuple of str
        Packages an answer may import while it is graded, besides dualkit; nothing else is installed there.
    questions : tuple of Question
    proofs : tuple of Proof
    """

    name: str
    title: str
    goals: tuple[str, ...]
    hours: float
    imports: tuple[str, ...]
    questions: tuple[Question, ...]
    proofs: tuple[Proof, ...]


def assignment(name: str) -> Assignment:
    """Return an assignment by name, one of "hw1" to "hw4" and "project"; ValueError if there is none."""
    if name not in NAMES:
        raise ValueError(f"assignment must be one of {', '.join(NAMES)}, found {name!r}")
    return import_module(f"dualkit.coursework.{name}").assignment


def find(question: str) -> Question:
    """Return a question by its name, such as "hw1-q1"; ValueError if there is none."""
    questions = {q.name: q for q in assignment(str(question).partition("-")[0]).questions}
    if question not in questions:
        raise ValueError(f"question must be one of {', '.join(questions)}, found {question!r}")
    return questions[question]


def verdict(question: str | Question, instance: Instance, answer: object) -> Verdict:
    """Judge an answer to an instance.

    Parameters
    ----------
    question : str or Question
    instance : dict
        What `draw` returned.
    answer : object
        Anything at all: what is no dict of finite arrays of the right shapes fails with a condition that says so.

    Examples
    --------
    >>> from dualkit.coursework import instance, verdict
    >>> print(verdict("hw1-q1", instance("hw1-q1", "ada"), {"u": [1, 2]}))
    [--] u must be an array of shape (12,), found shape (2,)
    [--] z is missing; it must be an array of shape (12,)
    0 % of this question
    """
    question = find(question) if isinstance(question, str) else question
    shapes = question.shapes(instance)
    if not isinstance(answer, Mapping):
        return Verdict((Condition(f"the answer must be a dict with {', '.join(shapes)}, found "
                                  f"{type(answer).__name__}", False),))
    arrays, failed = {}, []
    for name, shape in shapes.items():
        value, problem = _array(name, answer.get(name), shape, question.most)
        arrays[name] = value
        if problem:
            failed.append(Condition(problem, False))
    if failed:
        return Verdict(tuple(failed))
    conditions = []
    try:
        with np.errstate(all="ignore"):
            conditions.extend(question.verify(instance, arrays))
    except np.linalg.LinAlgError as error:  # numbers so large that products overflow
        conditions.append(Condition(f"the answer cannot be evaluated: {error}", False))
    return Verdict(tuple(conditions))


def tiers(text: str, found: float, steps: Mapping[float, float]) -> Iterator[Condition]:
    """Yield a condition for each tolerance in steps: `found` must be at most that, for the weight given there."""
    for tolerance, weight in steps.items():
        holds = bool(found <= tolerance)
        yield Condition(f"{text} must be at most {tolerance:g}, found {found:.3g}", holds, weight)


def _array(name: str, value: object, shape: tuple[int | None, ...], most: int) -> tuple[Array | None, str]:
    """Return the value as a float array of that shape, or None and the reason why it is not one."""
    sizes = ", ".join("any" if k is None else str(k) for k in shape) + "," * (len(shape) == 1)
    wanted = f"an array of shape ({sizes})" if shape else "a number"
    if value is None:
        return None, f"{name} is missing; it must be {wanted}"
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "fiu":
            return None, f"{name} must hold real numbers, found {array.dtype}"
        array = array.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        return None, f"{name} is not an array of numbers: {error}"
    fits = len(array.shape) == len(shape) and all(k <= most if s is None else k == s
                                                  for k, s in zip(array.shape, shape, strict=True))
    if not fits:
        limit = f", at most {most} long" if None in shape else ""
        return None, f"{name} must be {wanted}{limit}, found shape {array.shape}"
    if not (np.abs(array) <= LARGEST).all():
        return None, f"{name} must be finite, found NaN, infinity or a number beyond {LARGEST:.0e}"
    return array, ""
