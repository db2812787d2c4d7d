"""A class with good, broken and hostile submissions, graded as an instructor would, killed in between, resumed."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import course_class
import numpy as np
import pytest
from course_class import FULL, ROOT, good, lay_out, notebook, replayed, text

from coursework.grader import instances
from coursework.grader.settings import Course

pytestmark = pytest.mark.skipif(not shutil.which("bwrap") and not os.environ.get("CI"),
                                reason="needs bubblewrap: bash tools/system_packages.sh bwrap")

GOOD = ("ada", "grace")
# Good students earn 15 points for q1 and 15 for q2.
Q2_LOST = {"conflict-in-a-cell", "syntax-error"}
NOTHING = {"untouched", "no-cells", "ends-early", "forges"}
UNREADABLE = {
    "zero-bytes": "the file is empty (0 bytes)", "cut-off": "not valid JSON", "merge-conflict": "merge conflict",
    "not-a-notebook": "holds no cells", "binary": "not text", "two-notebooks": "2 notebooks were handed in",
    "no-notebook": "no notebook was handed in, only report.pdf", "bomb": "more than 200 MiB",
    "traversal": "leads out of it", "link-in-zip": "a link", "linked": "is a link", "json-bomb": "not valid JSON"}


def command(state, *arguments):
    return [sys.executable, "-m", "coursework.grader", "--state", str(state), *map(str, arguments)]


def run(state, *arguments):
    return subprocess.run(command(state, *arguments), cwd=ROOT, capture_output=True, text=True)


def table(state):
    with open(state / "grades.csv", newline="", encoding="utf-8") as file:
        return {row["student"]: row for row in csv.DictReader(file)}


def snapshot(state):
    return {path.name: path.read_bytes() for path in (state / "records" / "hw1").glob("*.json")}


@pytest.fixture(scope="module")
def batch(tmp_path_factory):
    """The class after grading: its state folder, its rows, and what was there when the first run was killed."""
    folder, state = tmp_path_factory.mktemp("handed in"), tmp_path_factory.mktemp("state")
    with socket.create_server(("127.0.0.1", 0)) as server:
        students = course_class.broken() | course_class.hostile(state, server.getsockname()[1], "ada")
        for student in GOOD:
            students[student] = {"hw1.ipynb": text(good(student, proof="My proof."))}
        students["replays"] = {"hw1.ipynb": text(notebook({"q2": replayed("ada")}))}
        students["hardcodes"] = {"hw1.ipynb": text(notebook({"q2": replayed("hardcodes")}))}
        lay_out(folder, students)
        stale = state / "runtime" / "code" / "env" / "dualkit" / "coursework"  # as earlier versions left it
        stale.mkdir(parents=True)
        (stale / "hw1.cpython-311.pyc").touch()
        instances.secret(Course(state=state))
        (state / "secret").write_bytes(bytes(range(32)))  # the same instances in every run of this test
        (folder / "linked" / "hw1").mkdir(parents=True)
        (folder / "linked" / "hw1" / "hw1.ipynb").symlink_to(state / "secret")
        (folder / "roster.csv").write_text("student,lms\nada,1\nabsent,2\n")
        roster = folder.parent / "roster.csv"
        (folder / "roster.csv").rename(roster)
        grade = ("grade", folder, "--jobs", 2, "--cell-seconds", 10, "--total-seconds", 60, "--roster", roster)
        with subprocess.Popen(command(state, *grade), cwd=ROOT, stderr=subprocess.DEVNULL) as first:
            while first.poll() is None and len(snapshot(state)) < 12:
                time.sleep(0.05)
            first.send_signal(signal.SIGKILL)
        time.sleep(1)
        before, alive = snapshot(state), grading_processes(state)
        done = run(state, *grade)
        server.settimeout(0)
        with pytest.raises(BlockingIOError):
            server.accept()
    assert done.returncode == 0, done.stderr
    return {"state": state, "rows": table(state), "before": before, "alive": alive, "said": done.stdout,
            "students": set(students) | {"linked"}, "after": snapshot(state)}


def grading_processes(state):
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(state) in entry.read_text():
                found.append(entry.parent.name)
        except OSError:
            continue
    return found


def test_every_student_has_one_row(batch):
    assert set(batch["rows"]) == batch["students"] | {"absent"}
    assert {path.stem for path in (batch["state"] / "records" / "hw1").iterdir()} == batch["students"]


def test_what_was_graded_before_the_kill_is_kept(batch):
    assert 12 <= len(batch["before"]) < len(batch["after"])
    assert batch["alive"] == []
    assert all(batch["after"][name] == data for name, data in batch["before"].items())


def test_good_students_earn_their_points(batch):
    for student in GOOD:
        row = batch["rows"][student]
        assert (row["status"], row["needs hand grading"]) == ("hand grading open", "hw1-p1")
        assert (row["question hw1-q1"], row["question hw1-q2"], row["question hw1-p1"]) == ("15", "15", "")
        assert (float(row["score"]), float(row["max"])) == (FULL, 100)


def test_every_other_submission_keeps_what_works_in_it(batch):
    special = Q2_LOST | NOTHING | set(UNREADABLE) | set(GOOD) | {"replays", "hardcodes", "silences", "patches"}
    scores = {name: float(batch["rows"][name]["score"] or -1) for name in batch["students"]}
    assert {name: score for name, score in scores.items() if name not in special and score != FULL} == {}
    assert {scores[name] for name in Q2_LOST} == {15.0}
    assert {name: scores[name] for name in NOTHING} == dict.fromkeys(NOTHING, 0.0)


def test_numbers_instead_of_a_function_earn_nothing(batch):
    for student in ("replays", "hardcodes"):
        assert float(batch["rows"][student]["score"]) == 0
    assert "100 % of this question" in (batch["state"] / "feedback" / "hardcodes" / "hw1.html").read_text()


@pytest.mark.parametrize("student", ["silences", "patches"])
def test_tampering_costs_only_oneself(batch, student):
    row = batch["rows"][student]
    assert float(row["score"]) <= FULL
    assert (row["question hw1-q3"], row["question hw1-q4"]) == ("0", "0")


@pytest.mark.parametrize(("student", "reason"), UNREADABLE.items())
def test_table_tells_zero_from_not_graded(batch, student, reason):
    row = batch["rows"][student]
    assert (row["status"], row["score"]) == ("not graded", "")
    assert reason in row["reason"]
    assert row["student"] in batch["said"]


def test_table_tells_zero_and_missing_apart(batch):
    row = batch["rows"]["untouched"]
    assert (row["status"], row["score"], row["question hw1-p1"]) == ("graded", "0", "0")
    assert "NotImplementedError" in row["reason"]
    assert [batch["rows"]["absent"][name] for name in ("status", "score", "reason")] == \
        ["missing", "", "nothing was handed in"]


@pytest.mark.parametrize(("student", "said"), [
    ("loop", "stopped after 10 seconds"), ("loop-for-ever", "did not stop after 10 seconds"),
    ("memory", "MemoryError|more than 2048 MiB of memory"), ("exit", "ended Python"), ("segfault", "ended Python"),
    ("memory-in-answer", "MemoryError"), ("syntax-error", "SyntaxError"), ("exit-in-answer", "ended Python"),
    ("recursion", "RecursionError"), ("deleted", "deleted cell hw1-q1-check put back"),
    ("duplicated", "cell hw1-q2 occurs 2 times"), ("wrong-types", "is a code cell again"),
    ("reordered", "questions put back in order"), ("renamed", "notebook was called My homework"),
    ("weakens", "locked cell hw1-q3-check restored"), ("imports", "No module named"),
    ("flood", "more characters"), ("warnings", "careful"), ("no-metadata", "recognised by its content")])
def test_student_learns_what_went_wrong(batch, student, said):
    record = json.loads(batch["after"][f"{student}.json"])
    page = (batch["state"] / "feedback" / student / "hw1.html").read_text()
    assert re.search(said, json.dumps(record["notebook"]) + page)


@pytest.mark.parametrize("student", ["reads", "writes", "connects", "daemon", "fills", "threads", "links"])
def test_nothing_outside_can_be_reached(batch, student):
    printed = json.dumps(json.loads(batch["after"][f"{student}.json"])["notebook"]["cells"])
    outputs = [output for cell in json.loads(printed) for output in cell.get("outputs", ())]
    shown = "".join(output.get("text", "") for output in outputs)
    assert not re.search(r"^(READ|WROTE|CONNECTED|STARTED|FILLED)", shown, re.MULTILINE)
    if student not in ("links",):
        assert re.search(r"^NO ", shown, re.MULTILINE)


def test_no_record_of_another_student_was_touched(batch):
    for name, data in batch["after"].items():
        record = json.loads(data)
        assert f"{record['student']}.json" == name
    assert json.loads(batch["after"]["ada.json"])["questions"]["hw1-q2"]["score"] == 15


def test_outputs_hold_no_secret_and_no_place_of_the_grader(batch):
    state = batch["state"]
    secret = (state / "secret").read_bytes()
    forbidden = [str(ROOT), str(state), sys.prefix, sys.base_prefix, str(Path.home()) + "/", secret.hex()]
    quoted = {"reads", "writes", "links"}  # these name the places themselves
    for page in state.glob("feedback/*/*.html"):
        content = page.read_text(encoding="utf-8")
        assert secret.hex() not in content
        if page.parent.name not in quoted:
            assert [place for place in forbidden if place in content] == [], page.parent.name
    assert (state / "secret").stat().st_mode & 0o777 == 0o600
    assert state.stat().st_mode & 0o777 == 0o700


def test_feedback_shows_no_markup_of_students(batch):
    page = (batch["state"] / "feedback" / "script" / "hw1.html").read_text()
    assert "&lt;script&gt;" in page
    assert "<script" not in page


def test_hand_graded_points_come_back(batch):
    from coursework.grader.__main__ import main
    from coursework.grader.gradebook import open_gradebook
    state = batch["state"]
    with open_gradebook(Course(state=state)) as book:
        grade = book.find_grade("hw1-p1", "hw1", "hw1", "ada")
        assert grade.needs_manual_grade
        grade.manual_score, grade.needs_manual_grade = 17.5, False
        book.find_comment("hw1-p1", "hw1", "hw1", "ada").manual_comment = "Case <2> is missing."
        book.db.commit()
    (state / "deadlines.ini").write_text("[hw1]\ndue = 2026-01-01 00:00+00:00\npercent per day = 10\n")
    for _ in range(2):  # again with the same result
        main(["--state", str(state), "export"])
        row = table(state)["ada"]
        assert (row["status"], float(row["score"]), row["needs hand grading"]) == ("graded", FULL + 17.5, "")
    assert "Case &lt;2&gt; is missing." in (state / "feedback" / "ada" / "hw1.html").read_text()
    with open_gradebook(Course(state=state)) as book:
        assert book.find_submission("hw1", "ada").score == FULL + 17.5
        graded = {name for name, row in batch["rows"].items() if row["status"] in ("graded", "hand grading open")}
        assert {submission.student.id for submission in book.assignment_submissions("hw1")} == graded
        assert np.isclose(book.find_submission("hw1", "grace").score, FULL)
    (state / "deadlines.ini").unlink()
