"""One file for each submission graded; it is there completely or not at all, whenever the machine stops."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from coursework.grader.settings import Course, Refusal


def write_atomically(path: Path, text: str) -> None:
    """Replace a file in one step: write beside it, flush to the disk, rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
    try:
        with open(handle, "w", encoding="utf-8", errors="replace") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.remove(name)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def path_of(course: Course, assignment: str, student: str) -> Path:
    return course.state / "records" / assignment / f"{student}.json"


def load(course: Course, assignment: str, student: str) -> dict | None:
    """Return a record, or None if there is none that can be read."""
    try:
        return json.loads(path_of(course, assignment, student).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def save(course: Course, record: dict) -> None:
    write_atomically(path_of(course, record["assignment"], record["student"]), json.dumps(record))


def remove(course: Course, assignment: str, student: str) -> None:
    """Remove a record and the pages made from it."""
    (course.state / "feedback" / student / f"{assignment}.html").unlink(missing_ok=True)
    shutil.rmtree(course.state / "autograded" / student / assignment, ignore_errors=True)
    path_of(course, assignment, student).unlink(missing_ok=True)


def every(course: Course) -> Iterator[dict]:
    """Yield all records, by assignment and student."""
    for path in sorted((course.state / "records").glob("*/*.json")):
        record = load(course, path.parent.name, path.stem)
        if record is not None:
            yield record


@contextlib.contextmanager
def only_one(course: Course) -> Iterator[None]:
    """Hold the lock of the state folder; Refusal if another grader has it."""
    with open(course.private() / "lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refusal("another grader is at work in this folder; wait until it ends") from None
        for leftover in course.state.glob("records/*/.*.part"):  # only now: the other one may be writing
            leftover.unlink(missing_ok=True)
        yield
