"""The theorem ledger of the book: one module per chapter, one registered check per labelled statement."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from dualkit.checks import Record, Statement


def statements() -> list[Statement]:
    """All registered statements, by chapter in alphabetical order and as registered within a chapter."""
    names = sorted(p.stem for p in Path(__file__).parent.glob("[a-z]*.py"))
    return [s for name in names for s in import_module(f"ledger.{name}").chapter.statements]


def records() -> list[Record]:
    """Run every check of the book."""
    return [s.run() for s in statements()]
