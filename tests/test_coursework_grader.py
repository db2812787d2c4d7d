"""The grader's parts one by one: names, archives, repairs, deadlines, judging, and a sandbox that must be tight."""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import stat
import time
from datetime import UTC, datetime
from importlib.util import module_from_spec, spec_from_file_location

import course_class
import nbformat
import numpy as np
import pytest
from course_class import RELEASE, ROOT, good, lay_out, notebook, text, zipped

import dualkit.coursework
from coursework.grader import (
    collect,
    export,
    grade,
    gradebook,
    instances,
    late,
    preflight,
    records,
    release,
    runtime,
    sandbox,
    seccomp,
    verify,
)
from coursework.grader.__main__ import main
from coursework.grader.runtime import binds, closure
from coursework.grader.settings import Course, Limits, Refusal
from dualkit.coursework import assignment, find

KNOWN = ["hw1", "hw2", "project"]
needs_bwrap = pytest.mark.skipif(not shutil.which("bwrap") and not os.environ.get("CI"),
                                 reason="needs bubblewrap: bash tools/system_packages.sh bwrap")


def collected(place, target=None, roster=None):
    found = collect.collect(place, target, KNOWN, roster or {})
    return {(one.student, one.assignment): [file.name for file in one.files] for one in found}


# --- release --------------------------------------------------------------------------------------


def test_released_notebooks_are_what_the_masters_give():
    course = Course()
    assert course.assignments()
    for name in course.assignments():
        made = release.student_version(course.source(name), name)
        assert course.release(name).read_text(encoding="utf-8") == made, "run make course"
        assert release.student_version(course.source(name), name) == made
        book = nbformat.reads(made, as_version=4)
        task = assignment(name)
        graded = {c.metadata.nbgrader.grade_id: c.metadata.nbgrader.points for c in book.cells
                  if c.metadata.get("nbgrader", {}).get("grade")}
        assert graded == {f"{q.name}-check": q.points for q in task.questions} | {
            p.name: p.points for p in task.proofs}
        for cell in book.cells:
            marks = cell.metadata.get("nbgrader", {})
            if marks.get("locked"):
                assert not cell.metadata.editable
            if marks.get("solution") and cell.cell_type == "code":
                assert "raise NotImplementedError" in cell.source


def test_release_clears_marked_solutions_and_keeps_the_stub(tmp_path):
    book = notebook({"q1": "def q1(X, lam, c):\n    ### BEGIN SOLUTION\n    return 42\n    ### END SOLUTION"})
    nbformat.write(book, tmp_path / "hw1.ipynb")
    made = nbformat.reads(release.student_version(tmp_path / "hw1.ipynb", "hw1"), as_version=4)
    assert "42" not in next(cell.source for cell in made.cells if cell.id == "hw1-q1")
    assert "def q2(" in next(cell.source for cell in made.cells if cell.id == "hw1-q2")
    book.cells[-1].source += "\n### BEGIN HIDDEN TESTS"
    nbformat.write(book, tmp_path / "hw1.ipynb")
    with pytest.raises(Refusal, match="hidden tests"):
        release.student_version(tmp_path / "hw1.ipynb", "hw1")


# --- names and archives ---------------------------------------------------------------------------


@pytest.mark.parametrize(("names", "expected"), [
    (["lastname_123_456_hw1.ipynb"], ("lastname-123", "hw1")),
    (["lovelaceada_LATE_123_456_hw1-2.ipynb"], ("lovelaceada-123", "hw1")),
    (["Ada Lovelace_12345_assignsubmission_file_/hw1.ipynb"], ("ada-lovelace-12345", "hw1")),
    (["Ada Lovelace_12345_assignsubmission_file/work/hw1.ipynb"], ("ada-lovelace-12345", "hw1")),
    (["Zoë Ünal-Name_12345_assignsubmission_file_hw1.ipynb"], ("zoë-ünal-name-12345", "hw1")),
    (["ada/hw1/hw1.ipynb", "ada/hw1/timestamp.txt"], ("ada", "hw1")),
    (["ADA/HW1/hw1.ipynb"], ("ada", "hw1")),
    (["hw1_ada.ipynb"], ("ada", "hw1")),
    (["ada-project (1).ipynb"], ("ada", "project")),
    (["=cmd()_1_2_hw2.ipynb"], ("cmd-1", "hw2")),
    (["__MACOSX/x", "ada/.ipynb_checkpoints/hw1-checkpoint.ipynb", "ada/hw1.ipynb"], ("ada", "hw1"))])
def test_names_of_learning_platforms_are_understood(tmp_path, names, expected):
    folder = tmp_path / "folder"
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    (tmp_path / "all.zip").write_bytes(zipped(dict.fromkeys(names, b"{}")))
    for place in (folder, tmp_path / "all.zip"):
        found = collected(place)
        assert list(found) == [expected]
        assert len(found[expected]) == len([n for n in names if "MACOSX" not in n and "checkpoint" not in n])


def test_roster_gives_each_student_one_id(tmp_path):
    roster = tmp_path / "roster.csv"
    roster.write_text("student,canvas,name\nal,123,Ada Lovelace\n")
    aliases = collect.read_roster(roster)
    folder = tmp_path / "in"
    for name in ("lovelaceada_123_9_hw1.ipynb", "Ada Lovelace_77_assignsubmission_file_/hw2.ipynb",
                 "AL/project/project.ipynb"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    assert set(collected(folder, roster=aliases)) == {("al", "hw1"), ("al", "hw2"), ("al", "project")}
    roster.write_text("student,canvas\n ,123\n,124\n")
    with pytest.raises(Refusal, match="the row with ' ' has no student"):
        collect.read_roster(roster)
    roster.write_text("id,name\n1,2\n")
    with pytest.raises(Refusal, match="column `student`"):
        collect.read_roster(roster)


def test_what_cannot_be_placed_is_asked_for(tmp_path):
    (tmp_path / "ada_1_2_homework.ipynb").write_text("{}")
    with pytest.raises(Refusal, match="ASSIGNMENT=hw1"):
        collected(tmp_path)
    assert list(collected(tmp_path, "hw2")) == [("ada-1", "hw2")]
    with pytest.raises(Refusal, match="folder or a zip"):
        collected(tmp_path / "absent")


@pytest.mark.parametrize("entry", ["/etc/hw1.ipynb", "../hw1.ipynb", "..\\hw1.ipynb", "C:\\hw1.ipynb", "."])
def test_archives_that_lead_outside_are_refused(tmp_path, entry):
    (tmp_path / "in.zip").write_bytes(zipped({entry: b"{}"}))
    with pytest.raises(preflight.Unreadable, match="leads out of it"):
        collect.notebooks([collect.File("in.zip", tmp_path / "in.zip")])
    with pytest.raises(Refusal, match=f"leads out of it, {re.escape(repr(entry))}, and does not tell whose it is"):
        collected(tmp_path / "in.zip")


def test_a_bad_entry_of_the_platforms_zip_is_its_owners_affair(tmp_path):
    (tmp_path / "in.zip").write_bytes(zipped(
        {"ada/hw1/hw1.ipynb": b"{}", "eve/../../hw1.ipynb": b"{}", "mallory/hw1/notes.txt": b""},
        links={"mallory/hw1/hw1.ipynb": "/etc/passwd"}))
    ada, eve, mallory = collect.collect(tmp_path / "in.zip", "hw1", KNOWN, {})
    assert (ada.problem, len(ada.files)) == ("", 1)
    assert eve.problem == "the zip holds a path that leads out of it, 'eve/../../hw1.ipynb'"
    assert mallory.problem == "the zip holds a link, 'mallory/hw1/hw1.ipynb'"
    assert [file.name for file in (*eve.files, *mallory.files)] == ["notes.txt"]


@pytest.mark.parametrize(("file", "names", "expected"), [
    ("hw1_ada.ipynb.zip", ["hw1_ada.ipynb"], ["ada"]), ("in.zip", ["in/ada/hw1.ipynb", "in"], ["ada", "in"]),
    ("in.zip", ["eve_1_2_x\n.ipynb", "ada\\", "ada\\hw1.ipynb"], ["ada", "eve-1"]),
    ("in.zip", ["\U0001f130da/hw1.ipynb"], ["ada"])])
def test_odd_names_in_a_zip_have_their_owner(tmp_path, file, names, expected):
    (tmp_path / file).write_bytes(zipped(dict.fromkeys(names, b"{}")))
    assert [student for student, _ in collected(tmp_path / file, "hw1")] == expected


@pytest.mark.parametrize(("whole", "broken", "said"), [
    (b"PK\x01\x02", b"PK\x01\x03", "in.zip cannot be unpacked"), (b"ada/", b"\0da/", "does not tell whose it is")])
def test_a_broken_zip_of_the_platform_is_refused(tmp_path, whole, broken, said):
    (tmp_path / "in.zip").write_bytes(zipped({"ada/hw1.ipynb": b"{}"}).replace(whole, broken))
    with pytest.raises(Refusal, match=said):
        collected(tmp_path / "in.zip")


def test_names_that_make_one_id_are_said(tmp_path):
    for name in ("Ada L.", "ada-l", "grace"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "hw1.ipynb").write_text("{}")
    one, other = collect.collect(tmp_path, "hw1", KNOWN, {})
    assert other.problem == ""
    assert one.problem.startswith("'Ada L.', 'ada-l' make one id, ada-l; a roster can tell them apart")
    (tmp_path / "flat.zip").write_bytes(zipped({"hw1_Ada.ipynb": b"{}", "hw1_ada.ipynb": b"{}"}))
    one, = collect.collect(tmp_path / "flat.zip", "hw1", KNOWN, {})
    assert one.problem.startswith("'Ada', 'ada' make one id, ada")
    (tmp_path / "flat.zip").unlink()
    roster = {collect.identifier("grace"): "hopper"}
    assert [one.student for one in collect.collect(tmp_path, "hw1", KNOWN, roster)] == ["ada-l", "hopper"]


def test_links_and_special_files_are_never_opened(tmp_path):
    (tmp_path / "secret").write_text("{}")
    (tmp_path / "ada").mkdir()
    (tmp_path / "ada" / "hw1.ipynb").symlink_to(tmp_path / "secret")
    os.mkfifo(tmp_path / "pipe.ipynb")
    for name in ("ada/hw1.ipynb", "pipe.ipynb"):
        with pytest.raises(preflight.Unreadable, match="link|plain file"):
            collect.File(name, tmp_path / name).read()
    found = collect.collect(tmp_path / "ada", "hw1", KNOWN, {})
    assert [one.problem for one in found] == ["hw1.ipynb is a link"]


# --- repairs --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["deleted", "duplicated", "reordered", "old-format", "no-metadata", "wrong-types",
                                  "wrong-kernel"])
def test_repair_restores_the_frame_and_keeps_the_answers(kind):
    handed_out = nbformat.read(RELEASE, as_version=4)
    data = course_class.broken()[kind]["hw1.ipynb"]
    mended = preflight.repair(preflight.read(data), handed_out).notebook
    nbformat.validate(mended)
    ours = [cell for cell in mended.cells if "nbgrader" in cell.metadata]
    assert [cell.id for cell in ours] == [cell.id for cell in handed_out.cells if "nbgrader" in cell.metadata]
    for cell, original in zip(ours, (c for c in handed_out.cells if "nbgrader" in c.metadata), strict=True):
        assert (cell.cell_type, cell.metadata) == (original.cell_type, original.metadata)
        if cell.metadata.nbgrader.locked:
            assert cell.source == original.source
    for name in ("q1", "q2"):
        assert next(c.source for c in ours if c.id == f"hw1-{name}") == course_class.solver(name)


def test_repair_is_idle_on_its_own_result_and_keeps_pictures():
    handed_out = nbformat.read(RELEASE, as_version=4)
    book = good("ada", proof="![drawing](attachment:a.png)", first="x = 1")
    book.cells[-1].attachments = {"a.png": {"image/png": "iVBORw0KGgo="}}
    once = preflight.repair(preflight.read(text(book)), handed_out)
    twice = preflight.repair(preflight.read(text(once.notebook)), handed_out)
    assert once.notebook == twice.notebook
    assert (once.notes, once.student) == ((), "ada")
    assert once.notebook.cells[-1].attachments == book.cells[-1].attachments


# --- deadlines, secrets, records ------------------------------------------------------------------


def test_late_days_and_extensions(tmp_path):
    path = tmp_path / "deadlines.ini"
    path.write_text("[hw1]\ndue = 2026-10-12 23:59+02:00\npercent per day = 10\n"
                    "[hw1 extensions]\nGrace = 2026-10-14 23:59+02:00\n")
    rules = late.read_deadlines(path)

    def record(student, moment, marked=False):
        return {"assignment": "hw1", "student": student, "handed_in": moment, "late": marked}

    for student, moment, days in [("ada", "12T21:59", 0), ("ada", "12T22:00", 1), ("ada", "15T00:00", 3),
                                  ("grace", "15T00:00", 1)]:
        found = late.lateness(rules, record(student, f"2026-10-{moment}:00+00:00"))
        assert (found.days, found.penalty(50)) == (days, 5 * days)
    assert late.Lateness(40, 400).penalty(50) == 50
    assert "time is not known" in late.lateness(rules, record("ada", "", True)).doubt
    path.write_text("[hw1]\ndue = 2026-10-12 23:59\n")
    with pytest.raises(Refusal, match="needs its offset"):
        late.lateness(late.read_deadlines(path), record("ada", "2026-10-12T21:59:00+00:00"))


def test_time_of_submission_is_read_as_nbgrader_writes_it(tmp_path):
    from coursework.grader.submission import timestamp
    lay_out(tmp_path, {"ada": {"timestamp.txt": b"2026-10-12 23:58:00.123456 UTC\n"}})
    one, = collect.collect(tmp_path, "hw1", KNOWN, {})
    found = datetime.fromisoformat(timestamp(one))
    assert found.replace(microsecond=0) == datetime(2026, 10, 12, 23, 58, tzinfo=UTC)


def test_secret_is_private_and_instances_depend_on_it(tmp_path):
    course = Course(state=tmp_path / "state")
    key = instances.secret(course)
    assert (len(key), instances.secret(course)) == (32, key)
    path = course.state / "secret"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    question = find("hw1-q1")
    own, *fresh = instances.draw(question, "ada", key)
    other = instances.draw(question, "ada", bytes(32))
    assert np.array_equal(own["X"], other[0]["X"])
    assert not any(np.array_equal(a["X"], b["X"]) for a, b in zip(fresh, other[1:], strict=True))
    assert not np.array_equal(fresh[0]["X"], fresh[1]["X"])
    path.chmod(0o644)
    with pytest.raises(Refusal, match="chmod 600"):
        instances.secret(course)


def test_record_is_whole_or_absent(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    records.write_atomically(path, "old")
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        records.write_atomically(path, "new")
    assert (path.read_text(), len(list(tmp_path.iterdir()))) == ("old", 1)


def test_two_graders_do_not_share_a_folder(tmp_path):
    course = Course(state=tmp_path)
    part = tmp_path / "records" / "hw1" / ".a.part"
    part.parent.mkdir(parents=True)
    with records.only_one(course):
        part.touch()  # the first one is writing
        with pytest.raises(Refusal, match="another grader"), records.only_one(course):
            pass
        assert part.exists()
    with records.only_one(course):
        assert not part.exists()


# --- judging --------------------------------------------------------------------------------------


@pytest.mark.parametrize("answers", [
    "", "[" * 100_000, "{}", "[]", "[1, 2, 3]", '[{"values": 3}, {}, {"error": 5}]', "[null, null, null]",
    json.dumps([{"values": {"u": [[["x"]]], "z": {}}}] * 3), '[{"values": {"u": [1e999], "z": [NaN]}}, 1, 2]',
    json.dumps([{"values": {"u": [10**400] * 12, "z": [True] * 12}}] * 3), json.dumps([{"fraction": 1.0}] * 3)])
def test_anything_can_be_judged(answers):
    found = verify.judge(find("hw1-q1"), "ada", bytes(32), answers)
    assert (found.fraction, found.human) == (0.0, False)
    assert found.text


def test_judgement_that_does_not_end_is_a_case_for_a_person(monkeypatch):
    monkeypatch.setattr(verify, "SECONDS", 1)
    monkeypatch.setattr(verify, "judge", lambda question, *rest: os._exit(9) if question.name == "hw1-q2"
                        else verify.Judgement(1.0, ""))
    questions = assignment("hw1").questions
    found = verify.judge_all(questions, "ada", bytes(32), {q.name: "" for q in questions})
    assert {name: (one.fraction, one.human) for name, one in found.items()} == {
        q.name: (0.0, True) if q.name == "hw1-q2" else (1.0, False) for q in questions}


# --- the batch ------------------------------------------------------------------------------------


def test_a_batch_ends_in_time_and_says_who_is_slow(tmp_path):
    course = Course(state=tmp_path)
    found = [collect.Submission(f"s{k}", "hw1") for k in range(6)]

    def work(one):
        time.sleep(0.4)
        records.save(course, {"assignment": "hw1", "student": one.student})
    left = grade._run_all(found, work, course, 2, time.monotonic() + 0.5)
    said = {record["student"]: record.get("reason") for record in records.every(course)}
    assert 0 < left < 6
    assert said == {f"s{k}": None if k < 6 - left else "it was not begun in the time that the grader had"
                    for k in range(6)}
    told = {"ada": ("graded", 3.0), "eve": ("graded", 240.0), "kay": ("missing", 0.0), "lea": ("graded", 91.0)}
    lines = [export.Line({"assignment": "hw1", "student": who, "status": status}, (), seconds)
             for who, (status, seconds) in told.items()]
    assert export.summary(lines, 5.0) == \
        "3 submissions: 3 graded, 1 missing; 5 s\n2 ran for more than 90 s: hw1 eve 240 s, hw1 lea 91 s"


def graded(course, student, key, score=15.0):
    book = nbformat.read(RELEASE, as_version=4)
    questions = {f"hw1-q{k}": {"points": 20, "score": score, "text": "", "why": ""} for k in (1, 2, 3, 4)}
    questions["hw1-p1"] = {"points": 20, "score": None, "why": "", "text": "", "hand": True, "empty": False}
    records.save(course, {
        "assignment": "hw1", "student": student, "status": "graded", "reason": "", "human": [], "notes": [],
        "questions": questions, "late": False, "handed_in": "", "graded_at": key, "file": "hw1.ipynb", "key": key,
        "notebook": book})


def test_a_roster_that_comes_later_renames_and_keeps_what_people_entered(tmp_path):
    course, roster, place = Course(state=tmp_path), {"ada": "ada", "77": "ada"}, tmp_path / "in"
    place.mkdir()
    (place / "lovelace_77_5_hw1.ipynb").write_text("{}")
    assert [list(collected(place, roster=names)) for names in ({}, roster)] == [
        [("lovelace-77", "hw1")], [("ada", "hw1")]]
    graded(course, "lovelace-77", "old")
    assert [line.values["student"] for line in export.export(course, {})] == ["lovelace-77"]
    with gradebook.open_gradebook(course) as book:
        proof = book.find_grade("hw1-p1", "hw1", "hw1", "lovelace-77")
        proof.manual_score, proof.needs_manual_grade = 17.5, False
        book.db.commit()
    grade._note(course, collect.Submission("ada", "hw1"), "the grader failed on it", [])
    _, line = export.export(course, roster)
    assert (line.values["student"], line.values["score"]) == ("lovelace-77", "77.5")
    assert line.human == ("graded before the roster called it ada: grade it again",)
    graded(course, "ada", "new", 10.0)
    for _ in range(2):
        line, = export.export(course, roster)
        assert (line.values["student"], line.values["score"]) == ("ada", "57.5")
    graded(course, "lovelace-77", "old")  # the roster was forgotten once
    export.export(course, {})
    with gradebook.open_gradebook(course) as book:
        assert book.find_grade("hw1-p1", "hw1", "hw1", "lovelace-77").needs_manual_grade
        book.find_grade("hw1-q1-check", "hw1", "hw1", "lovelace-77").manual_score = 20.0
        book.find_grade("hw1-p1", "hw1", "hw1", "lovelace-77").manual_score = 1.0
        book.db.commit()
    line, = export.export(course, roster)
    assert line.values["score"] == "67.5"
    assert [path.name for path in (tmp_path / "records" / "hw1").iterdir()] == ["ada.json"]
    assert not list(tmp_path.glob("feedback/lovelace-77/*")) and not list(tmp_path.glob("autograded/lovelace-77/*"))
    with gradebook.open_gradebook(course) as book:
        assert [student.id for student in book.students] == ["ada"]
        assert book.find_grade("hw1-p1", "hw1", "hw1", "ada").needs_manual_grade  # the work behind it changed


def test_a_question_that_comes_later_has_its_place_in_the_gradebook(tmp_path):
    course = Course(root=tmp_path, state=tmp_path / "state")
    book = nbformat.read(RELEASE, as_version=4)
    course.release("hw1").parent.mkdir(parents=True)
    nbformat.write(book, course.release("hw1"))
    graded(course, "ada", "old")
    record = records.load(course, "hw1", "ada")
    list(gradebook.enter(course, [record]))
    book.cells.append(copy.deepcopy(next(cell for cell in book.cells if cell.id == "hw1-p1")))
    book.cells[-1].id = book.cells[-1].metadata.nbgrader.grade_id = "hw1-p2"
    nbformat.write(book, course.release("hw1"))
    record["questions"]["hw1-p2"] = record["questions"]["hw1-p1"]
    (_, row), = gradebook.enter(course, [record])
    assert (row.scores["hw1-q4"], row.scores["hw1-p2"]) == (15.0, None)


# --- the sandbox: what stands in for dualkit.coursework ---


def test_answers_are_recorded_where_no_question_is(tmp_path, monkeypatch, capsys):
    place = runtime.INSIDE / "coursework" / "__init__.py"
    inside = module_from_spec(spec := spec_from_file_location("inside_coursework", place))
    spec.loader.exec_module(inside)
    monkeypatch.setattr(inside, "FOLDER", str(tmp_path))
    (tmp_path / "instances.json").write_text(json.dumps(
        {"toy": [{"x": [1.0, 2.0], "c": 3.0}, {"x": [-1.0, 0.0], "c": 0.0}]}))

    def answer(x, c):
        if x.sum() < 0:
            raise RuntimeError("negative")
        return {"y": x / 2, "c": c, "log": {(1, 2): 3, "solver": print}}

    values = {"y": [0.5, 1.0], "c": 3.0, "log": {"solver": "builtin_function_or_method"}}
    for function, said in ((answer, [{"values": values}, {"error": "RuntimeError: negative"}]),
                           (None, [{"error": "TypeError: 'NoneType' object is not callable"}] * 2)):
        assert inside.check("toy", function, "whoever") is None
        assert capsys.readouterr().out == "toy: answers recorded\n"
        assert json.loads((tmp_path / "answers" / "toy.json").read_text()) == said
    own = inside.instance("toy", "whoever")
    assert np.array_equal(own["x"], [1.0, 2.0]) and own["c"] == 3.0
    with pytest.raises(ValueError, match="question must be one of toy, found 'hw1-q1'"):
        inside.instance("hw1-q1", "ada")
    with pytest.raises(AttributeError, match="verdict is not there while a submission is graded"):
        inside.verdict  # noqa: B018
    assert set(inside.__all__) <= set(dualkit.coursework.__all__)


# --- the sandbox ----------------------------------------------------------------------------------


def test_without_bubblewrap_nothing_is_graded(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    lay_out(tmp_path / "in", {"ada": {"hw1.ipynb": text(notebook())}})
    with pytest.raises(SystemExit, match="bwrap is missing; install it with `bash tools/system_packages.sh bwrap`"):
        main(["--state", str(tmp_path / "state"), "grade", str(tmp_path / "in")])
    assert not (tmp_path / "state" / "records").exists()
    assert not (tmp_path / "state" / "grades.csv").exists()


def test_refusal_of_the_kernel_is_shown_with_its_remedy(tmp_path, monkeypatch, capsys):
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "bwrap").write_text("#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2\nexit 1\n")
    (programs / "bwrap").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(SystemExit, match="(?s)setting up uid map: Permission denied.*README.md, Set up"):
        main(["--state", str(tmp_path / "state"), "prove"])
    assert "`setting up uid map: Permission denied`" in (ROOT / "coursework" / "README.md").read_text()


def test_unknown_machine_is_refused(monkeypatch):
    monkeypatch.setattr(os, "uname", lambda: type("U", (), {"machine": "vax"}))
    with pytest.raises(Refusal, match="no system call filter for vax"):
        seccomp.program()


@needs_bwrap
@pytest.mark.parametrize(("hole", "noticed"), [
    (["--share-net"], "open a connection"), (["--ro-bind", "/etc", "/etc"], "read a file outside"),
    (["--bind", "HERE", "/lib"], "write outside"), (["--proc", "/proc"], "see other processes"),
    (["--clearenv", "--setenv", "TOKEN", "x"], "see the environment"),
    (None, "import what is not allowed"), ([], "import what is not allowed")])
def test_a_hole_in_the_sandbox_is_noticed(tmp_path, monkeypatch, hole, noticed):
    course = Course(state=tmp_path)
    whole = sandbox.Sandbox.walls

    def walls(self, learn=False):
        words = whole(self, learn)
        if hole is None:  # the checks of the questions are not covered
            return [word.replace("/grader/inside/coursework", "/../dualkit/coursework") for word in words]
        place = words.index("--dev")  # after the namespaces, before the root is closed
        return [*words[:place], *(str(tmp_path) if word == "HERE" else word for word in hole), *words[place:]]

    monkeypatch.setattr(sandbox.Sandbox, "walls", walls)
    for name in ("empty", "code/env/dualkit/coursework"):
        (tmp_path / "runtime" / name).mkdir(parents=True)
    if hole == []:  # byte code of the checks is left
        (tmp_path / "runtime" / "code" / "env" / "dualkit" / "coursework" / "hw1.cpython-311.pyc").touch()
    with pytest.raises(Refusal, match=f"nothing is graded: the sandbox is not tight, .*{noticed}"):
        sandbox.prove(sandbox.Sandbox(("numpy",), tmp_path / "runtime", Limits()), course)


@needs_bwrap
def test_the_sandbox_offers_what_the_questions_allow_and_no_more():
    names = {distribution.metadata["Name"].lower() for distribution in closure({"numpy", "scipy"})}
    assert names == {"numpy", "scipy"}
    for name in Course().assignments():
        assert not {"cvxpy", "torch", "nbgrader"} & {
            d.metadata["Name"].lower() for d in closure(set(assignment(name).imports))}
    shown = [here for here, _ in binds(("numpy",))]
    assert str(ROOT / "dualkit") in shown
    assert [here for here in shown if (ROOT / "tests").is_relative_to(here) or "/tests" in here] == []


@pytest.mark.parametrize("name", Course().assignments())
def test_every_assignment_fits_the_grader(name):
    from coursework.grader.execute import question_of
    task, course = assignment(name), Course()
    book = nbformat.read(course.release(name), as_version=4)
    assert [question_of(cell) for cell in book.cells if question_of(cell)] == [q.name for q in task.questions]
    for question in task.questions:
        drawn = instances.draw(question, "ada", bytes(32))
        data = json.loads(json.dumps(instances.as_data(drawn), allow_nan=False))
        for one, back in zip(drawn, data, strict=True):
            assert all(np.array_equal(value, back[key]) for key, value in one.items())
