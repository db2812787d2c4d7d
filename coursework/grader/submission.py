"""Grade one submission: from its files to its record."""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import nbformat

import dualkit.coursework
from coursework.grader import execute, preflight, records
from coursework.grader.collect import Submission, notebooks, plain_name
from coursework.grader.instances import as_data, draw
from coursework.grader.preflight import Unreadable
from coursework.grader.sandbox import Sandbox
from coursework.grader.settings import Course
from coursework.grader.verify import judge_all
from dualkit.coursework import Assignment

NBGRADERS_OWN = {"timestamp.txt", "submission_secret.txt"}
ENGINE = "2"  # another number grades everything again


def fingerprint(assignment: Assignment, release: str) -> bytes:
    """What a grade depends on besides the submission: the questions and the notebook handed out."""
    folder = Path(dualkit.coursework.__file__).parent
    sources = [path.read_text(encoding="utf-8") for path in (*sorted(folder.glob("_[a-z]*.py")),
                                                             folder / f"{assignment.name}.py")]
    return hashlib.sha256("\0".join([ENGINE, release, *sources]).encode()).digest()


def choose(found: list[tuple[str, bytes]], files: list[str], assignment: str,
           frame: set[str]) -> tuple[str, list[preflight.Cell]]:
    """Of the notebooks handed in, return the one that answers the assignment; Unreadable if none or several do."""
    if not found:
        raise Unreadable(f"no notebook was handed in{', only ' + ', '.join(files[:5]) if files else ''}")
    named = [one for one in found if plain_name(one[0]) == assignment]
    if len(named) == 1:
        found = named
    if len(found) == 1:
        return found[0][0], preflight.read(found[0][1])
    best, most = [], 0
    for name, data in found:
        try:
            cells = preflight.read(data)
        except Unreadable:
            continue
        known = sum(bool(frame & set(cell.places)) for cell in cells)
        if known > most:
            best, most = [], known
        if known == most > 0:
            best.append((name, cells))
    if len(best) != 1:
        raise Unreadable(f"{len(found)} notebooks were handed in, and it is not clear which one counts: "
                         + ", ".join(sorted(name for name, _ in found)[:5]))
    return best[0]


def timestamp(submission: Submission) -> str:
    """When it was handed in, in UTC, from the timestamp.txt that nbgrader writes; "" if unknown."""
    # nbgrader's lies in the folder of the assignment; one deeper down is the student's own.
    for file in sorted(submission.files, key=lambda file: len(Path(file.inside or file.path).parts)):
        if file.name == "timestamp.txt":
            try:
                day, hour, *zone = file.read(100).decode().split()
                moment = datetime.fromisoformat(f"{day} {hour}")
                if moment.tzinfo is None:
                    moment = moment.replace(tzinfo=ZoneInfo(zone[0] if zone else "UTC"))
                return moment.astimezone(UTC).isoformat()
            except (ValueError, OverflowError, OSError, KeyError, Unreadable):
                return ""
    return ""


def grade(submission: Submission, assignment: Assignment, course: Course, sandbox: Sandbox, key: bytes,
          regrade: bool) -> None:
    """Write the record of a submission, unless there is one of exactly this submission."""
    release_text = course.release(assignment.name).read_text(encoding="utf-8")
    release = nbformat.reads(release_text, as_version=4)
    digest = hashlib.sha256(fingerprint(assignment, release_text) + repr(submission.problem).encode())
    record = {"assignment": assignment.name, "student": submission.student, "status": "not graded", "reason": "",
              "human": [], "notes": [], "questions": {}, "late": submission.late,
              "handed_in": timestamp(submission),
              "graded_at": datetime.now(UTC).isoformat(timespec="seconds"), "file": "", "notebook": None}
    frame = {cell.metadata.nbgrader.grade_id for cell in release.cells if "nbgrader" in cell.metadata}
    began = time.monotonic()
    try:
        if submission.problem:
            raise Unreadable(submission.problem)
        digest.update(repr([(file.name, file.mark()) for file in submission.files]).encode())
        found = notebooks(submission.files)
        for name, data in found:
            digest.update(name.encode(errors="surrogatepass") + b"\0" + hashlib.sha256(data).digest())
        if not regrade and _done(course, record, digest.hexdigest()):
            return
        names = [file.name for file in submission.files if file.name not in NBGRADERS_OWN]
        name, cells = choose(found, names, assignment.name, frame)
        record["file"] = name
        if plain_name(name) != assignment.name:
            record["notes"].append(f"notebook was called {name}")
        repaired = preflight.repair(cells, release)
        record["notes"] += repaired.notes
        if repaired.student and repaired.student.lower() != submission.student:
            record["notes"].append(f"the notebook says STUDENT = {repaired.student[:60]!r}")
        # Feedback may show a student the fresh instances: another submission is judged on others.
        work = hashlib.sha256(b"".join(hashlib.sha256(data).digest() for _, data in found)).digest()
        _run(record, repaired.notebook, release, assignment, sandbox, hmac.digest(key, work, "sha256"))
    except Unreadable as error:
        record["reason"] = str(error)
        record["human"].append("submission cannot be read")
    except MemoryError:
        record["reason"] = "the file is too large to be read"
        record["human"].append("submission cannot be read")
    except execute.Trouble as error:
        record.update(reason="the grader could not run it", retry=True)
        record["human"].append(f"grade again; the sandbox did not start: {error}")  # not for the student
    if regrade or not _done(course, record, digest.hexdigest()):
        record.update(key=digest.hexdigest(), seconds=round(time.monotonic() - began, 2))
        records.save(course, record)


def _done(course: Course, record: dict, key: str) -> bool:
    """Whether there is a record of exactly this submission already."""
    old = records.load(course, record["assignment"], record["student"])
    return bool(old and old.get("key") == key and not old.get("retry"))


def _run(record: dict, notebook: nbformat.NotebookNode, release: nbformat.NotebookNode, assignment: Assignment,
         sandbox: Sandbox, key: bytes) -> None:
    """Execute and judge a repaired notebook, and fill in the record."""
    prelude = [c.source for c in release.cells if c.cell_type == "code" and "nbgrader" not in c.metadata]
    instances = {q.name: as_data(draw(q, record["student"], key)) for q in assignment.questions}
    found = execute.execute(notebook, prelude, instances, sandbox)
    judged = judge_all(assignment.questions, record["student"], key, found.answers)
    said = {}
    for question in assignment.questions:
        judgement = judged.get(question.name)
        if judgement is None:
            text, fraction = f"Not answered: {execute.why_unanswered(notebook, found, question.name)}", 0.0
        else:
            text, fraction = judgement.text, judgement.fraction
            if judgement.human:
                record["human"].append(f"look at {question.name}")
        said[question.name] = text
        record["questions"][question.name] = {
            "points": question.points, "score": round(question.points * fraction, 3), "text": text,
            "why": "" if fraction == 1 else _first_reason(text)}
    released = {c.metadata.nbgrader.grade_id: c.source for c in release.cells if "nbgrader" in c.metadata}
    for cell in notebook.cells:
        marks = cell.metadata.get("nbgrader", {})
        if marks.get("grade") and marks.get("solution"):
            name = marks["grade_id"]
            record["questions"][name] = {
                "points": marks["points"], "score": None, "why": "", "text": "", "hand": True,
                "empty": cell.source.strip() == released[name].strip()}
    execute.show(notebook, found, said)
    record.update(status="graded", starts=found.starts, run_seconds=round(found.seconds, 2), notebook=notebook)


def _first_reason(text: str) -> str:
    """The first thing that is wrong, for a table."""
    lines = [re.sub(r"^\[--\] ", "", line) for line in text.split("\n")
             if not line.startswith(("[ok]", "On ")) and not re.fullmatch(r"\d+ % of this question", line)]
    return (lines[0] if lines else "")[:200]
