"""The theorem ledger: a statement, its check, and what must make the check fail.

A statement of the book is registered together with three things:

* a *check*, which yields one residual per instance and must stay below a tolerance,
* for every hypothesis a *violation*, an instance without it, whose residual must be large, and
* *perturbed statements* (a factor doubled, a sign flipped), for which the same check must fail.

The statements of a chapter are registered in the module of this folder that has the chapter's name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed

# A violated hypothesis or a perturbed statement must miss by this factor, so that "it fails" is never a
# matter of rounding.
MARGIN = 1e3

Residuals = Callable[..., Iterable[float]]


@dataclass(frozen=True)
class Record:
    """The outcome of one statement's check.

    Attributes
    ----------
    label, chapter, title : str
        Label of the statement, stem of its chapter's file, and what is compared with what.
    instances : int
        How many instances were tried.
    residual, tolerance : float
        The worst residual over the instances and the bound it must respect.
    violations : tuple of (str, str, float)
        Hypothesis label, what the instance does, and its residual.
    perturbations : tuple of (str, float)
        What was changed in the statement, and the residual of the same check.
    """

    label: str
    chapter: str
    title: str
    instances: int
    residual: float
    tolerance: float
    violations: tuple[tuple[str, str, float], ...]
    perturbations: tuple[tuple[str, float], ...]

    @property
    def holds(self) -> bool:
        """The residual of every instance is within the tolerance."""
        return self.residual <= self.tolerance

    @property
    def sharp(self) -> bool:
        """Every violation and every perturbed statement misses the tolerance by a wide margin."""
        misses = [r for *_, r in self.violations] + [r for _, r in self.perturbations]
        return bool(self.perturbations) and all(not r <= MARGIN * self.tolerance for r in misses)

    @property
    def passed(self) -> bool:
        """The statement holds and its check is able to fail."""
        return self.holds and self.sharp


@dataclass(frozen=True)
class Statement:
    """A registered statement; see `Chapter.statement`."""

    label: str
    chapter: str
    title: str
    tolerance: float
    check: Residuals
    perturbed: Mapping[str, Mapping[str, object]]
    violations: list[tuple[str, str, Residuals]] = field(default_factory=list)

    def run(self, seed: int = 0) -> Record:
        """Run the check, its violations and its perturbed versions, all from the same seed."""
        residuals = _collect(self.check, seed, self.label)
        return Record(
            self.label, self.chapter, self.title, len(residuals), max(residuals), self.tolerance,
            tuple((hypothesis, what, max(_collect(run, seed, self.label)))
                  for hypothesis, what, run in self.violations),
            tuple((what, max(_collect(self.check, seed, self.label, **change)))
                  for what, change in self.perturbed.items()))


def _collect(check: Residuals, seed: int, label: str, **change: object) -> list[float]:
    residuals = [float(r) for r in check(np.random.default_rng(seed), **change)]
    if not residuals:
        raise ValueError(f"the check of {label} tried no instance; yield at least one residual")
    # A residual that is not a number must never count as small.
    return [r if r == r else float("inf") for r in residuals]


class Chapter:
    """The registered statements of one chapter.

    Parameters
    ----------
    name : str
        Stem of the chapter's file.

    Examples
    --------
    >>> chapter = Chapter("squares")
    >>> @chapter.statement("lem-square", "a square, expanded", 1e-12, {"no cross term": {"cross": 0.0}})
    ... def square(rng, cross=2.0):
    ...     a, b = rng.normal(size=2)
    ...     yield abs((a + b) ** 2 - (a**2 + cross * a * b + b**2))
    >>> chapter.statements[0].run().passed
    True
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.statements: list[Statement] = []

    def statement(self, label: str, title: str, tolerance: float,
                  perturbed: Mapping[str, Mapping[str, object]]) -> Callable[[Residuals], Residuals]:
        """Register a check: a generator function of a numpy Generator that yields residuals.

        Parameters
        ----------
        label : str
            Label of the statement in the chapter.
        title : str
            What is compared with what, for the reader.
        tolerance : float
            Bound on every residual.
        perturbed : mapping
            Description of a wrong statement -> keyword arguments of the check that state it.
        """
        def register(check: Residuals) -> Residuals:
            if any(s.label == label for s in self.statements):
                raise ValueError(f"{label} is registered twice in {self.name}; give each statement one check")
            self.statements.append(Statement(label, self.name, title, tolerance, check, perturbed))
            return check
        return register

    def violation(self, label: str, hypothesis: str, what: str) -> Callable[[Residuals], Residuals]:
        """Register an instance that violates a hypothesis of a statement already registered."""
        owner = next((s for s in self.statements if s.label == label), None)
        if owner is None:
            raise ValueError(f"{label} has no check in {self.name}; register it before its violations")

        def register(check: Residuals) -> Residuals:
            owner.violations.append((hypothesis, what, check))
            return check
        return register


def chapters() -> list[str]:
    """Names of the modules of this folder, one a chapter."""
    return sorted(p.stem for p in Path(__file__).parent.glob("[a-z]*.py"))


def statements() -> list[Statement]:
    """All registered statements, by chapter in alphabetical order and as registered within a chapter."""
    return [s for name in chapters() for s in import_module(f"ledger.{name}").chapter.statements]


def records(jobs: int = 2) -> list[Record]:
    """Run every check of the book, `jobs` chapters at a time; the order is that of `statements`."""
    found = Parallel(n_jobs=jobs)(delayed(_chapter_records)(name) for name in chapters())
    return [record for chapter in found for record in chapter]


def _chapter_records(name: str) -> list[Record]:
    return [s.run() for s in import_module(f"ledger.{name}").chapter.statements]
