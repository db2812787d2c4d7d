"""Instances for students, and the check of their functions on them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np

from dualkit.coursework._questions import Instance, Verdict, find, verdict


def instance(question: str, student: str) -> Instance:
    """Return the instance of a question that belongs to a student: the same on every machine, other for each id.

    Case and outer blanks of the id do not count.

    Examples
    --------
    >>> from dualkit.coursework import instance
    >>> a, b = instance("hw1-q1", "ada"), instance("hw1-q1", " Ada ")
    >>> all(np.array_equal(a[name], b[name]) for name in a)
    True
    """
    who = str(student).strip().lower()
    if not who:
        raise ValueError(f"student must be your id, found {student!r}")
    digest = hashlib.sha256(f"{question}:{who}".encode()).digest()
    return find(question).draw(np.random.default_rng(int.from_bytes(digest[:8], "big")))


def check(question: str, function: Callable[..., dict], student: str) -> Verdict:
    """Run your function on your instance and print which conditions its answer meets.

    Parameters
    ----------
    question : str
        For example "hw1-q1".
    function : callable
        Takes the arrays of the instance by name, returns a dict of arrays.
    student : str
        Your id.

    Returns
    -------
    Verdict. While a submission is graded the answers are only recorded, and it returns None.

    Raises
    ------
    TypeError
        `function` is not a function, for example its answer.
    ValueError
        There is no such question, or the id is empty. Errors of the function itself are passed on.
    """
    if not callable(function):
        raise TypeError(f"function must be your function itself, found a {type(function).__name__}; pass its name "
                        f"without calling it")
    own = instance(question, student)
    result = verdict(question, own, function(**{name: np.copy(v) for name, v in own.items()}))
    print(f"{question}, instance of {str(student).strip().lower()}\n{result}")
    return result
