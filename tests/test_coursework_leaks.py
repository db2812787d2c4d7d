"""No line that solves a question stands in anything that a student gets to see."""

import pytest
from course_class import ROOT, solver

from coursework.grader.leaks import search, solving_lines, squeeze
from coursework.grader.settings import Course

# What the package itself says is no secret: a check evaluates constraints as a solver does.
PUBLIC = "".join(squeeze(path.read_text(encoding="utf-8")) for path in sorted((ROOT / "dualkit").rglob("*.py")))
FORBIDDEN = {line for line in solving_lines(ROOT.glob("tests/*course*.py")) if line not in PUBLIC}


def everything(*folders):
    """All files but those of an instructor who grades in this checkout: students' answers are in them."""
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob("*"))]
    return [path for path in found if not path.is_relative_to(ROOT / "coursework" / "grading")]


def test_search_knows_the_solvers_and_finds_them_in_any_dress(tmp_path):
    assert len(FORBIDDEN) > 50
    line = max(solver("q2").splitlines(), key=len)
    assert squeeze(line) in FORBIDDEN
    dressed = {"a.html": f"<pre><span>{line[:9]}</span>{line[9:].replace('<', '&lt;').replace('&', '&amp;')}</pre>",
               "b.ipynb": '{"source": ["' + line.replace('"', '\\"') + '\\n"]}', "c.md": line}
    for name, text in dressed.items():
        (tmp_path / name).write_text(text)
    assert {path.name for path, _ in search(tmp_path.iterdir(), FORBIDDEN)} == set(dressed)


def test_masters_student_notebooks_and_chapters_solve_nothing():
    found = search(everything("coursework", "chapters", "_ext", "_static"), FORBIDDEN)
    assert [(str(path.relative_to(ROOT)), line) for path, line in found] == []


def test_masters_hold_no_solutions():
    for name in Course().assignments():
        text = Course().source(name).read_text(encoding="utf-8")
        assert "BEGIN SOLUTION" not in text
        assert "BEGIN HIDDEN" not in text


@pytest.mark.site
def test_built_site_solves_nothing():
    built = ROOT / "_build" / "html"
    assert built.is_dir(), "make book first"
    assert [(str(path), line) for path, line in search(everything("_build/html"), FORBIDDEN)] == []
