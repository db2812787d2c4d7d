"""What a late submission costs: deadlines, extensions and a rate, from an ini file.

    [hw1]
    due = 2026-10-12 23:59+02:00
    percent per day = 10

    [hw1 extensions]
    ada = 2026-10-14 23:59+02:00
"""

from __future__ import annotations

import configparser
import math
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from coursework.grader.collect import identifier
from coursework.grader.settings import Refusal

DAY = 86400


@dataclass(frozen=True)
class Lateness:
    """Days begun after the deadline, the percentage this costs, and what cannot be decided."""

    days: int = 0
    percent: float = 0.0
    doubt: str = ""

    def penalty(self, score: float) -> float:
        return round(score * min(100.0, self.percent) / 100, 3)


def _when(text: str, where: str) -> datetime:
    try:
        time = datetime.fromisoformat(text.strip())
    except ValueError:
        raise Refusal(f"{where}: a time looks like 2026-10-12 23:59+02:00, found {text!r}") from None
    if time.tzinfo is None:
        raise Refusal(f"{where}: the time {text!r} needs its offset, such as +02:00")
    return time


def read_deadlines(path: Path | None) -> configparser.ConfigParser:
    """Return the deadlines; none if there is no file."""
    found = configparser.ConfigParser(delimiters="=", interpolation=None)
    if path is not None and path.exists():
        found.read(path, encoding="utf-8")
    return found


def lateness(deadlines: configparser.ConfigParser, record: dict) -> Lateness:
    """Return how late a submission is."""
    name = record["assignment"]
    if not deadlines.has_section(name) or "due" not in deadlines[name]:
        return Lateness(doubt="the LMS calls it late, and no deadline is set" if record["late"] else "")
    extensions = f"{name} extensions"
    granted = {identifier(who): when for who, when in deadlines[extensions].items()} \
        if deadlines.has_section(extensions) else {}
    due = _when(granted.get(record["student"], deadlines[name]["due"]), f"deadlines, {name}")
    if not record["handed_in"]:
        return Lateness(doubt="the LMS calls it late, and the time is not known" if record["late"] else "")
    days = max(0, math.ceil((_when(record["handed_in"], "time of a submission") - due).total_seconds() / DAY))
    return Lateness(days, days * deadlines[name].getfloat("percent per day", 0.0))
