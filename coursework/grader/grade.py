"""Grade a class: one process for each submission, several at a time, resumable after any interruption."""

from __future__ import annotations

import ctypes
import math
import multiprocessing
import os
import resource
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from pathlib import Path

from tqdm import tqdm

from coursework.grader import records, submission
from coursework.grader.collect import Submission, collect
from coursework.grader.instances import secret
from coursework.grader.sandbox import prepare
from coursework.grader.settings import MIB, Course, Refusal
from coursework.grader.verify import SECONDS
from dualkit.coursework import assignment as find_assignment

MEMORY = 6144 * MIB  # of the process that reads a submission
_SET_PARENT_DEATH_SIGNAL = 1


LONG = 30.0          # seconds after which the progress bar names a submission


def grade(course: Course, place: Path, assignment: str | None, roster: dict[str, str], jobs: int,
          regrade: bool, minutes: float = math.inf) -> int:
    """Bring the records of all submissions in a folder or zip up to date.

    After so many minutes no submission is begun any more. Returns how many were not.
    """
    until = time.monotonic() + 60 * minutes
    known = course.assignments()
    if assignment and assignment not in known:
        raise Refusal(f"ASSIGNMENT must be one of {', '.join(known)}, found {assignment!r}")
    found = collect(place, assignment, known, roster)
    if not found:
        raise Refusal(f"no submissions in {place.name}")
    with records.only_one(course):
        key = secret(course)
        tasks = {name: find_assignment(name) for name in sorted({one.assignment for one in found})}
        for name in tasks:
            if not course.release(name).exists():
                raise Refusal(f"{name} has not been released: make course")
        kinds = {task.imports for task in tasks.values()}
        sandboxes = {imports: prepare(course, imports) for imports in sorted(kinds)}

        def work(one: Submission) -> None:
            task = tasks[one.assignment]
            submission.grade(one, task, course, sandboxes[task.imports], key, regrade)

        return _run_all(found, work, course, jobs, until)


def _run_all(found: list[Submission], work: Callable[[Submission], None], course: Course, jobs: int,
             until: float) -> int:
    """Keep `jobs` processes busy; a process that dies or does not end leaves a record that says so."""
    context = multiprocessing.get_context("fork")
    patience = course.limits.total + 6 * SECONDS
    waiting, running = list(reversed(found)), {}
    with tqdm(total=len(found), unit="submission", desc="grading") as bar:
        while running or (waiting and time.monotonic() < until):
            while waiting and len(running) < jobs and time.monotonic() < until:
                one = waiting.pop()
                process = context.Process(target=_child, args=(work, one, os.getpid()))
                process.start()
                running[process.sentinel] = (process, one, time.monotonic())
            ended = wait(list(running), timeout=1.0)
            at_work = {mark: time.monotonic() - began for mark, (_, _, began) in running.items()}
            overdue = [mark for mark, seconds in at_work.items() if seconds > patience]
            bar.set_postfix_str(", ".join(f"{running[mark][1].student} {seconds:.0f} s"
                                          for mark, seconds in at_work.items() if seconds > LONG))
            for mark in {*ended, *overdue}:
                process, one, _ = running.pop(mark)
                process.kill()
                process.join()
                if process.exitcode != 0 or mark not in ended:
                    how = f"exit status {process.exitcode}" if mark in ended else "it did not end"
                    _note(course, one, f"the grader failed on it ({how})", ["grade again"])
                process.close()
                bar.update()
    for one in waiting:  # else a roster would call them missing
        _note(course, one, "it was not begun in the time that the grader had", [])
    return len(waiting)


def _child(work: Callable[[Submission], None], one: Submission, parent: int) -> None:
    # When the driver is killed its children go too, and with them their sandboxes; a rerun finds nobody at work.
    ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
    work(one)


def _note(course: Course, one: Submission, reason: str, human: list[str]) -> None:
    """Record why the grader did not grade it this time, unless the grade was already written."""
    old = records.load(course, one.assignment, one.student)
    if old is None or old.get("retry"):
        records.save(course, {
            "assignment": one.assignment, "student": one.student, "status": "not graded", "key": "", "retry": True,
            "reason": reason, "human": human, "notes": [], "questions": {}, "late": one.late, "handed_in": "",
            "graded_at": "", "file": "", "notebook": None})
