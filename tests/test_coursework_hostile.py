"""The grader against files, names and messages that are made to break it."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
import zipfile

import nbformat
import numpy as np
import pytest
from course_class import ROOT, good, lay_out, text, zipped
from nbconvert.exporters import HTMLExporter
from traitlets.config import Config
from traitlets.config.loader import PyFileConfigLoader

from coursework.grader import collect, execute, export, gradebook, preflight, submission
from coursework.grader.settings import Course, Refusal
from dualkit.coursework import assignment

KNOWN = ["hw1", "hw2"]
ATTACHED = {"a.png": {"image/png": "iVBORw0KGgo="}, "b.png": {"image/png\" onerror=\"run()": "x"},
            "c.png": {"image/png": "\" onerror=\"run()"}, "d.svg": {"image/svg+xml": "x"}}
MARKUP = """<script>run()</script> <img src=x onerror=run()>

<svg onload=run()><iframe src=x></iframe></svg>

[a](javascript:run()) <javascript:run()> ![p](attachment:a.png "q' onerror=run() x=\\"") ![b](attachment:b.png)
![c](attachment:c.png) ![d](attachment:d.svg) ![none](attachment:none) ![out](https://example.org/x.png)

```mermaid
</pre><script>run()</script>
```

$x < 3 \\href{javascript:run()}{y} <img src=x onerror=run()>$

| a | b |
|---|---|
| 1 | <b onclick=run()>2</b> |
"""


def test_formgrader_shows_no_markup_of_students():
    config = Config(PyFileConfigLoader("nbgrader_config.py", str(ROOT / "coursework")).load_config())
    book = good(proof=MARKUP)
    book.cells[-1].attachments = ATTACHED
    exporter = HTMLExporter(config=config, template_name="basic")
    page, _ = exporter.from_notebook_node(book)
    shown = page[page.index("run()") - 100:]
    for markup in ("<script", "<svg", "<iframe", "<b ", "onerror=\"run", "<img src=x", "href=\"javascript",
                   "example.org\"", "\\href{"):
        assert markup not in shown, markup
    assert shown.count("<img ") == 1
    assert "data:image/png;base64,iVBORw0KGgo=" in shown
    assert "<table" in shown
    assert "$x &lt; 3" in shown


def test_nbgraders_own_tools_run_no_submission(tmp_path):
    """As on a hub, where nobody has set PYTHONPATH."""
    told, state = tmp_path / "told", tmp_path / "state"
    lay_out(state / "submitted", {"ada": {"hw1.ipynb": text(good(first=f"open({str(told)!r}, 'w')"))}})
    with gradebook.open_gradebook(Course(state=state)) as book:
        gradebook.define(book, Course(), "hw1")
        book.db.commit()
    run = subprocess.run([sys.executable, "-m", "nbgrader", "autograde", "hw1", "--student", "ada", "--create"],
                         cwd=ROOT / "coursework", env={"GRADING": str(state), "HOME": str(tmp_path)},
                         capture_output=True, text=True)
    assert run.returncode != 0
    assert "submissions are graded in a sandbox by `make grade" in run.stderr
    assert not told.exists()


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_broken_archives_are_the_students_fault(tmp_path, method):
    with io.BytesIO() as buffer:
        with zipfile.ZipFile(buffer, "w", method) as archive:
            archive.writestr("hw1.ipynb", text(good()))
        whole = buffer.getvalue()
    rng = np.random.default_rng(0)
    for _ in range(100):
        data = bytearray(whole)
        for place in rng.integers(len(data), size=3):
            data[place:place + 20] = rng.bytes(20)
        (tmp_path / "hw1.zip").write_bytes(data)
        try:
            collect.notebooks([collect.File("hw1.zip", tmp_path / "hw1.zip")])
        except preflight.Unreadable:
            continue


def test_ids_stay_apart_and_fit_into_file_names():
    names = ["\U0001f130", "Zoe", "Zoe\u0308", "\U0001f600", "\U0001f916", "\u6f22" * 85, "\u6f22" * 84, "x" * 300,
             "x" * 299]
    found = [collect.identifier(name) for name in names]
    assert len(set(found)) == len(names)
    assert collect.identifier("Zo\u00eb") == found[2]
    assert max(len(name.encode()) for name in found) < 200
    assert [collect.identifier(name) for name in found] == found


def test_name_of_a_file_does_not_make_it_another_students(tmp_path):
    (tmp_path / "mallory_1_2_x_77_assignsubmission_file_hw1.ipynb").write_text("{}")
    one, = collect.collect(tmp_path, "hw1", KNOWN, {"77": "ada"})
    assert one.student == "mallory-1"


def test_roster_in_which_a_name_is_two_students_is_refused(tmp_path):
    path = tmp_path / "roster.csv"
    path.write_text("student,name\nada,A  Smith\neve,a smith\n")
    with pytest.raises(Refusal, match="stands for two students, ada and eve"):
        collect.read_roster(path)


def test_time_of_submission_is_not_the_students_to_write(tmp_path):
    (tmp_path / "in.zip").write_bytes(zipped({"ada/hw1/a/timestamp.txt": b"2020-01-01 00:00:00 UTC",
                                              "ada/hw1/timestamp.txt": b"2026-10-12 23:58:00 UTC"}))
    one, = collect.collect(tmp_path / "in.zip", "hw1", KNOWN, {})
    assert submission.timestamp(one) == "2026-10-12T23:58:00+00:00"


def test_table_has_one_line_for_each_submission_and_no_formula(tmp_path):
    course = Course(state=tmp_path)
    reasons = ["x\rada,1", "\u2028\x00\x1b[2J\n", "=cmd()", "-1+cmd()", "@x", "+x", "-1.5", "plain, \"quoted\""]
    export._write_table(course, [export.Line({"student": "eve", "reason": reason}) for reason in reasons])
    data = (tmp_path / "grades.csv").read_text(encoding="utf-8")
    assert len(data.splitlines()) == 1 + len(reasons)
    found = [row["reason"] for row in csv.DictReader(io.StringIO(data))]
    assert found == ["x?ada,1", "???[2J?", "'=cmd()", "'-1+cmd()", "'@x", "'+x", "-1.5", "plain, \"quoted\""]
    told = export.summary([export.Line({"student": "eve", "assignment": "hw1", "status": "not graded",
                                        "reason": "\x1b[2J\n\udcff"}, ("see",))], 1.0)
    assert "\x1b" not in told
    assert told.encode()


def test_another_submission_gets_other_fresh_instances(tmp_path, monkeypatch):
    """What the feedback on the first one shows is worth nothing for the next."""
    keys = []
    monkeypatch.setattr(submission, "_run", lambda *arguments: keys.append(arguments[-1]))
    for number, data in enumerate((text(good()), text(good()), text(good(last="x = 1")))):
        path = tmp_path / str(number) / "hw1.ipynb"
        path.parent.mkdir()
        path.write_bytes(data)
        one = collect.Submission("ada", "hw1", [collect.File("hw1.ipynb", path)])
        submission.grade(one, assignment("hw1"), Course(state=tmp_path / "state"), None, bytes(32), True)
    assert keys[0] == keys[1] != keys[2]
    assert all(len(key) == 32 for key in keys)


def test_messages_of_any_form_are_taken():
    class Said:
        process = complaint = None

        def messages(self, deadline):
            yield from ({"start": 2}, {"start": [1]}, {"answer": [], "text": "x"}, {"answer": {}, "text": "x"},
                        {"done": 10**9, "text": "x"}, {"done": True}, {"answer": "hw1-q1", "text": 5},
                        {"answer": "hw1-q1", "text": "[]"}, {"done": 2, "error": [[]]}, {"end": 1})

    found = execute.Execution()
    state = execute._listen(Said(), found, 1e18, 1.0, {"hw1-q1": []}, {2: None})
    assert state.ended
    assert (set(found.outcomes), found.answers) == ({2}, {"hw1-q1": "[]"})


def test_an_answer_to_the_check_cell_replaces_that_of_a_draft():
    class Said:
        def messages(self, deadline):
            for number in (0, 1, 2):
                yield from ({"start": number}, {"answer": "hw1-q1", "text": str(number)}, {"done": number})

    cells = dict(enumerate(nbformat.v4.new_code_cell() for _ in range(3)))
    cells[1].metadata["nbgrader"] = {"grade": True, "solution": False, "grade_id": "hw1-q1-check"}
    found = execute.Execution()
    execute._listen(Said(), found, 1e18, 1.0, {"hw1-q1": []}, cells)
    assert found.answers == {"hw1-q1": "1"}


def test_output_kept_of_many_cells_is_bounded():
    class Said:
        def messages(self, deadline):
            yield from ({"done": number, "text": "x" * 30_000, "error": "E"} for number in range(500))

    found = execute.Execution()
    execute._listen(Said(), found, 1e18, 1.0, {}, dict.fromkeys(range(500)))
    kept = [len(o.text + o.error + o.traceback) for o in found.outcomes.values()]
    assert kept[0] == 20_001
    assert len(kept) == 500 and sum(kept) == 1 << 20
