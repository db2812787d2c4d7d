"""From the records to what people use: gradebook, feedback pages, grades.csv, and a list of what needs a person."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from coursework.grader import gradebook, records
from coursework.grader.feedback import page
from coursework.grader.late import Lateness, lateness, read_deadlines
from coursework.grader.settings import Course

COLUMNS = ("student", "assignment", "status", "score", "max")
SLOW = 90.0  # seconds of running that are worth a word
MORE_COLUMNS = ("reason", "needs hand grading", "late days", "late penalty")


@dataclass(frozen=True)
class Line:
    """A row of grades.csv, why a person must look at it, and how long the submission ran."""

    values: dict[str, object]
    human: tuple[str, ...] = ()
    seconds: float = 0.0


def export(course: Course, roster: dict[str, str], deadlines: Path | None = None) -> list[Line]:
    """Write gradebook, feedback and grades.csv from the records; return the lines."""
    rules = read_deadlines(deadlines)
    everything = _by_roster(course, roster)
    lines, penalties = [], {}
    graded = [record for record in everything if record["status"] == "graded"]
    for record, row in gradebook.enter(course, graded):
        late = lateness(rules, record)
        machine = sum(score or 0.0 for score in row.scores.values())
        penalty = late.penalty(machine)
        penalties[record["assignment"], record["student"]] = penalty
        lines.append(_graded(record, row, late, machine - penalty, penalty))
        gradebook.write_autograded(course, record)
        _feedback(course, record, page(record, row, late, round(machine - penalty, 3)))
    gradebook.set_penalty(course, penalties)
    for record in everything:
        if record["status"] != "graded":
            lines.append(_line(record, "not graded", reason=record["reason"], human=record["human"]))
            _feedback(course, record, page(record, None, Lateness(), None))
    there = {(record["assignment"], record["student"]) for record in everything}
    for name in sorted({record["assignment"] for record in everything}):
        lines += [_line({"student": who, "assignment": name}, "missing", reason="nothing was handed in")
                  for who in sorted(set(roster.values())) if (name, who) not in there]
    lines.sort(key=lambda line: (line.values["assignment"], line.values["student"]))
    _write_table(course, lines)
    return lines


def _by_roster(course: Course, roster: dict[str, str]) -> list[dict]:
    """All records; those under an id that the roster has replaced go, once there is one under the new id."""
    everything = {(record["assignment"], record["student"]): record for record in records.every(course)}
    for (name, old), record in list(everything.items()):
        new = roster.get(old, old)
        if new != old and not everything.get((name, new), {"retry": True}).get("retry"):
            gradebook.rename(course, name, old, new)
            records.remove(course, name, old)
            del everything[name, old]
        elif new != old:
            record["human"].append(f"graded before the roster called it {new}: grade it again")
    return list(everything.values())


def _line(record: dict, status: str, human: list[str] | tuple[str, ...] = (), **values: object) -> Line:
    return Line({"student": record["student"], "assignment": record["assignment"], "status": status, **values},
                tuple(human), record.get("run_seconds", 0.0))


def _graded(record: dict, row: gradebook.Row, late: Lateness, score: float, penalty: float) -> Line:
    open_ = [name for name, value in row.scores.items() if value is None]
    reasons = [f"{name}: {q['why']}" for name, q in record["questions"].items() if q["why"]]
    human = [*record["human"], *([late.doubt] if late.doubt else []),
             *(f"grade {name} by hand" for name in open_),
             *(note for note in record["notes"] if note.startswith("the notebook says STUDENT"))]
    values = {f"question {name}": "" if value is None else f"{value:g}" for name, value in row.scores.items()}
    return _line(record, "hand grading open" if open_ else "graded", human, score=f"{score:g}",
                 max=f"{sum(q['points'] for q in record['questions'].values()):g}", reason=" | ".join(reasons),
                 **{"needs hand grading": " ".join(open_), "late days": late.days, "late penalty": f"{penalty:g}"},
                 **values)


def _feedback(course: Course, record: dict, text: str) -> None:
    path = course.state / "feedback" / record["student"] / f"{record['assignment']}.html"
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        records.write_atomically(path, text)


def _write_table(course: Course, lines: list[Line]) -> None:
    questions = sorted({name for line in lines for name in line.values if name.startswith("question ")})
    names = [*COLUMNS, *questions, *MORE_COLUMNS]
    with io.StringIO(newline="") as text:
        table = csv.DictWriter(text, names, restval="", lineterminator="\n")
        table.writeheader()
        table.writerows({name: harmless(value) for name, value in line.values.items()} for line in lines)
        records.write_atomically(course.state / "grades.csv", text.getvalue())


def harmless(value: object) -> object:
    """A value as it may stand in a table or on a terminal: in one line, no control characters, no formula."""
    if not isinstance(value, str):
        return value
    plain = "".join(letter if letter.isprintable() else "?" for letter in value)
    return f"'{plain}" if re.match(r"[=+@-](?!\d+(\.\d+)?$)", plain) else plain


def summary(lines: list[Line], seconds: float) -> str:
    """What a person should know after grading."""
    count = Counter(line.values["status"] for line in lines)
    parts = ", ".join(f"{number} {status}" for status, number in sorted(count.items()))
    told = [f"{len(lines) - count['missing']} submissions: {parts}; {seconds:.0f} s"]
    slow = sorted((line for line in lines if line.seconds > SLOW), key=lambda line: -line.seconds)
    if slow:
        told.append(f"{len(slow)} ran for more than {SLOW:g} s: " + ", ".join(
            f"{line.values['assignment']} {line.values['student']} {line.seconds:.0f} s" for line in slow[:10])
            + (", ..." if len(slow) > 10 else ""))
    needy = [line for line in lines if line.human]
    if needy:
        told.append(f"{len(needy)} need a person:")
        by_hand = [line for line in needy if all(reason.startswith("grade ") for reason in line.human)]
        if by_hand:
            told.append(f"  {len(by_hand)} proofs to grade by hand: make formgrader")
        told += [f"  {line.values['assignment']} {line.values['student']}: {'; '.join(line.human)}"
                 + (f" ({line.values['reason']})" if line.values["status"] == "not graded" else "")
                 for line in needy if line not in by_hand]
    return "\n".join(map(harmless, told))
