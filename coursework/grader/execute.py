"""Run the cells of one submission in the sandbox, so that one bad cell costs no other.

This side keeps the clock. A cell that takes its process down (endless, out of memory, os._exit) is marked, and a
fresh sandbox runs the rest without it. What the sandbox says is data: text to show and answers to judge.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from nbformat import NotebookNode
from nbformat.v4 import new_output

from coursework.grader.sandbox import Run, Sandbox
from coursework.grader.settings import MIB

START = 60.0    # seconds for the sandbox and Python to start
GRACE = 5.0     # seconds between the alarm inside and the end from outside
OUT_OF_MEMORY = 77


class Trouble(Exception):
    """The sandbox failed before any code of the student ran: not the student's fault."""


@dataclass
class Outcome:
    """What one cell did: its output, and its error in one line and as a traceback."""

    text: str = ""
    error: str = ""
    traceback: str = ""


@dataclass
class Execution:
    """Outcomes by the cell's place in the notebook, answers by question, starts needed, seconds used.

    `room` is what is left of the characters of output that are kept of a submission, however many cells it has.
    """

    outcomes: dict[int, Outcome] = field(default_factory=dict)
    answers: dict[str, str] = field(default_factory=dict)
    starts: int = 0
    seconds: float = 0.0
    room: int = MIB


@dataclass
class _State:
    """Where a run stands: the cell it is in, when that must end, and whether it came to its own end."""

    cell: int | None = None
    until: float = 0.0
    ended: bool = False
    began: bool = False


def question_of(cell: NotebookNode) -> str:
    """The question that a check cell asks, or ""."""
    marks = cell.metadata.get("nbgrader", {})
    graded = cell.cell_type == "code" and marks.get("grade") and not marks.get("solution")
    return marks["grade_id"].removesuffix("-check") if graded else ""


def execute(notebook: NotebookNode, prelude: list[str], instances: dict[str, list[dict]],
            sandbox: Sandbox) -> Execution:
    """Run a repaired notebook. The prelude is the release's own set-up, in case the student's was deleted."""
    limits, found, began = sandbox.limits, Execution(), time.monotonic()
    end = began + limits.total
    cells = {number: cell for number, cell in enumerate(notebook.cells)
             if cell.cell_type == "code" and cell.source.strip()}
    skipped: set[int] = set()
    while True:
        todo = [(number, cell.source) for number, cell in cells.items()
                if number not in skipped and not (number in found.outcomes and question_of(cell) in found.answers)]
        job = {"instances": instances, "prelude": prelude, "cells": todo, "seconds": limits.cell,
               "text": limits.text, "answer": limits.answer}
        found.starts += 1
        run = sandbox.start("runner.py", job, end - time.monotonic())
        state = _listen(run, found, end, limits.cell, instances, cells)
        flooded, status = run.most <= 0, run.end()
        if state.ended:
            break
        if not state.began and found.starts == 1:
            raise Trouble(run.complaint.decode(errors="replace")[:500] or f"the sandbox ended with status {status}")
        if time.monotonic() >= end:
            _mark(found, state.cell, f"the submission had used up its {limits.total:g} seconds")
            break
        if state.cell is None or state.cell not in cells or state.cell in skipped or flooded:
            break  # the run lies about where it is, or floods: what came until now counts
        if time.monotonic() >= state.until:
            reason = f"the cell did not stop after {limits.cell:g} seconds and was ended"
        elif status == OUT_OF_MEMORY:
            reason = f"the cell needed more than {limits.memory // MIB} MiB of memory"
        else:
            reason = f"the cell ended Python (exit status {status})"
        _mark(found, state.cell, reason)
        skipped.add(state.cell)
    for number in cells:
        found.outcomes.setdefault(number, Outcome(error="not run: the run had ended before this cell"))
    found.seconds = time.monotonic() - began
    return found


def _mark(found: Execution, cell: int | None, reason: str) -> None:
    if cell is not None:
        found.outcomes[cell] = Outcome(error=reason, traceback=reason)


def _listen(run: Run, found: Execution, end: float, seconds: float, instances: dict, cells: dict) -> _State:
    state = _State(until=min(end, time.monotonic() + START))
    for message in run.messages(lambda: state.until):
        if isinstance(message.get("start"), int):
            state.cell, state.began = message["start"], True
            state.until = min(end, time.monotonic() + seconds + GRACE)
        elif isinstance(message.get("done"), int):
            if message["done"] in cells and message["done"] not in found.outcomes:
                parts = []
                for name in ("error", "traceback", "text"):
                    parts.append(str(message.get(name, ""))[:min(20_000, found.room)])
                    found.room -= len(parts[-1])
                error, traceback, text = parts
                found.outcomes[message["done"]] = Outcome(text, error, traceback)
            state.cell, state.until = None, min(end, time.monotonic() + START)
        elif isinstance(message.get("answer"), str) and isinstance(message.get("text"), str):
            name, asks = message["answer"], question_of(cells[state.cell]) if state.cell in cells else ""
            # A check in a cell of the student's own may be one of a draft: the check cell's answer replaces it.
            if name in instances and (name == asks or name not in found.answers):
                found.answers[name] = message["text"]
        elif message.get("end"):
            state.ended = True
    return state


def show(notebook: NotebookNode, found: Execution, said: dict[str, str]) -> None:
    """Write what the cells did into the notebook, and under each check cell how its question was judged."""
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type != "code":
            continue
        outcome, cell.outputs = found.outcomes.get(number, Outcome()), []
        cell.execution_count = None
        if outcome.text:
            cell.outputs.append(new_output("stream", name="stdout", text=outcome.text))
        if outcome.error:
            name, _, value = outcome.error.partition(": ")
            lines = outcome.traceback.split("\n")
            cell.outputs.append(new_output("error", ename=name, evalue=value, traceback=lines))
        if question_of(cell) in said:
            text = f"Judged outside the notebook:\n{said[question_of(cell)]}\n"
            cell.outputs.append(new_output("stream", name="stdout", text=text))


def why_unanswered(notebook: NotebookNode, found: Execution, question: str) -> str:
    """The reason why a question has no answer, from the cells that should have given one."""
    reasons = []
    for number, cell in enumerate(notebook.cells):
        marks = cell.metadata.get("nbgrader", {})
        error = found.outcomes.get(number, Outcome()).error
        if error and (marks.get("grade_id") == question or question_of(cell) == question):
            reasons.append(error)
    return "; ".join(dict.fromkeys(reasons)) or "no answer was recorded"
