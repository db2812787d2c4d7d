"""Where things lie, and how much a submission may use."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MIB = 1 << 20


class Refusal(Exception):
    """Something that a person must see to; its text says what and how."""


@dataclass(frozen=True)
class Limits:
    """What one submission may use.

    Attributes
    ----------
    cell, total : float
        Seconds for one cell, and for all runs of the submission together.
    memory, scratch : int
        Bytes of address space, and of files.
    text, answer, stream : int
        Bytes kept of a cell's output, of one answer, and of all that the sandbox says.
    """

    cell: float = 45.0
    total: float = 240.0
    memory: int = 2048 * MIB
    scratch: int = 64 * MIB
    text: int = 10_000
    answer: int = 4 * MIB
    stream: int = 64 * MIB


@dataclass(frozen=True)
class Course:
    """The folders of a course.

    Attributes
    ----------
    root : Path
        Holds `source` and `release`, as nbgrader lays a course out.
    state : Path
        Everything that grading makes: secret, records, gradebook, feedback, grades.csv. Not for git.
    limits : Limits
    """

    root: Path = ROOT
    state: Path = field(default_factory=lambda: Path(os.environ.get("GRADING") or ROOT / "grading"))
    limits: Limits = field(default_factory=Limits)

    def source(self, assignment: str) -> Path:
        return self.root / "source" / assignment / f"{assignment}.ipynb"

    def release(self, assignment: str) -> Path:
        return self.root / "release" / assignment / f"{assignment}.ipynb"

    def assignments(self) -> list[str]:
        """The assignments that have a master."""
        return sorted(path.parent.name for path in (self.root / "source").glob("*/*.ipynb")
                      if path.stem == path.parent.name)

    def private(self) -> Path:
        """The state folder, made if need be, closed to other users."""
        self.state.mkdir(parents=True, exist_ok=True)
        self.state.chmod(0o700)
        return self.state.resolve()
