"""What all coursework shares: instances, judgements that nothing breaks, notebooks that fit the questions."""

from __future__ import annotations

import ast
import re
from importlib.util import find_spec
from pathlib import Path

import nbformat
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualkit.coursework import Condition, Question, assignment, check, find, instance, tiers, verdict
from dualkit.coursework._questions import NAMES

ROOT = Path(__file__).resolve().parents[1]
ASSIGNMENTS = [assignment(name) for name in NAMES if find_spec(f"dualkit.coursework.{name}")]
QUESTIONS = [question.name for a in ASSIGNMENTS for question in a.questions]
SQUARE = Question("toy", "Half", 10, lambda rng: {"x": rng.normal(size=3)},
                  lambda given: {"y": (3,), "more": (None,)},
                  lambda given, answer: tiers("error", np.abs(2 * answer["y"] - given["x"]).max(),
                                              {1e-1: 0.4, 1e-9: 0.6}), most=5)


def test_an_instance_belongs_to_one_student_and_one_question():
    first, again, other = (instance("hw1-q1", who)["X"] for who in ("ada", " ADA\n", "alan"))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    with pytest.raises(ValueError, match="your id"):
        instance("hw1-q1", "  ")


def test_an_instance_is_the_same_on_every_machine():
    assert instance("hw1-q1", "ada")["lam"][:2].round(6).tolist() == [0.399996, 1.07203]


@pytest.mark.parametrize("name", ["hw9-q1", "hw1-q9", "", "../hw1", None])
def test_unknown_questions_are_refused(name):
    with pytest.raises(ValueError, match="must be one of"):
        find(name)


def test_conditions_add_up_to_a_fraction():
    x = np.array([1.0, 2.0, 3.0])
    for y, share in ((x / 2, 1), (x / 2 + 1e-3, 0.4), (x, 0)):
        assert verdict(SQUARE, {"x": x}, {"y": y, "more": []}).fraction == share
    result = verdict(SQUARE, {"x": x}, {"y": x / 2 + 1e-3, "more": []})
    assert str(result) == "[ok] error must be at most 0.1, found 0.002\n" \
                          "[--] error must be at most 1e-09, found 0.002\n40 % of this question"


@pytest.mark.parametrize(("answer", "reason"), [
    (None, "must be a dict with y, more, found NoneType"),
    ([1, 2], "must be a dict"),
    ({"more": []}, "y is missing"),
    ({"y": [1, 2], "more": []}, r"y must be an array of shape \(3,\), found shape \(2,\)"),
    ({"y": [[1, 2, 3]], "more": []}, "found shape"),
    ({"y": [1, 2, 3], "more": [0] * 6}, r"\(any,\), at most 5 long, found shape \(6,\)"),
    ({"y": [1, [2], 3], "more": []}, "y is not an array of numbers"),
    ({"y": [1, 2, float("nan")], "more": []}, "y must be finite"),
    ({"y": [1, 2, 1e300], "more": []}, "y must be finite"),
    ({"y": [1, 2, 10**400], "more": []}, "y must hold real numbers"),
    ({"y": ["1", "2", "3"], "more": []}, "y must hold real numbers"),
    ({"y": [True, False, True], "more": []}, "y must hold real numbers"),
    ({"y": [1j, 2, 3], "more": []}, "y must hold real numbers"),
])
def test_what_is_no_answer_says_why(answer, reason):
    result = verdict(SQUARE, {"x": np.ones(3)}, answer)
    assert result.fraction == 0
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(str(result))


def test_nan_is_no_success():
    assert not next(tiers("gap", float("nan"), {1.0: 1.0})).holds


def test_a_verifier_that_cannot_factorise_fails_the_answer():
    def judge(given, answer):
        yield Condition("first", True, 0.5)
        yield Condition("second", bool(np.linalg.svd(np.full((2, 2), np.nan))[1][0] > 0), 0.5)

    result = verdict(Question("toy", "", 1, SQUARE.draw, lambda given: {}, judge), {}, {})
    assert result.fraction == 0.5 and "cannot be evaluated" in str(result)


def test_check_prints_and_leaves_the_instance_alone(capsys):
    def answer(X, lam, c):
        X[:] = 0  # an answer may spoil its own copies
        return {"u": np.zeros(12), "z": np.zeros(12)}

    assert check("hw1-q1", answer, " Ada") is None  # a cell shows what its last line returns, after what it printed
    printed = capsys.readouterr().out
    assert printed.startswith("hw1-q1, instance of ada\n[ok]") and printed.endswith("\n0 % of this question\n")


def test_check_of_a_question_as_handed_out_is_no_error(capsys):
    def answer(X, lam, c):
        raise NotImplementedError

    def unfinished(X, lam, c):
        return answer(X, lam, c)

    def unsupported(X, lam, c):
        raise NotImplementedError("no complex numbers")

    check("hw1-q1", answer, "ada")
    assert capsys.readouterr().out == "hw1-q1: not answered yet\n"
    for function in (unfinished, unsupported):
        with pytest.raises(NotImplementedError):
            check("hw1-q1", function, "ada")


def test_check_wants_the_function_and_not_its_answer():
    with pytest.raises(TypeError, match="found a dict; pass its name"):
        check("hw1-q1", {"u": [1.0]}, "ada")


@pytest.mark.parametrize("name", QUESTIONS)
def test_instances_of_all_ids_have_one_form(name):
    question = find(name)
    forms = set()
    for k in range(50):
        drawn = instance(name, f"id-{k}")
        assert all(np.isfinite(value).all() for value in drawn.values())
        forms.add(str(({key: np.shape(value) for key, value in drawn.items()}, question.shapes(drawn))))
    assert len(forms) == 1


NUMBERS = st.one_of(st.floats(-1e50, 1e50), st.floats(-2, 2), st.sampled_from([0.0, -0.0, 1e-300, -1e50, 1e50]))
JUNK = st.recursive(st.one_of(st.none(), st.booleans(), st.text(max_size=3), st.floats(), st.integers()),
                    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=2), inner,
                                                                                       max_size=2)), max_leaves=5)


@pytest.mark.parametrize("name", QUESTIONS)
def test_no_answer_breaks_a_verifier_or_earns_by_chance(name):
    question, drawn = find(name), instance(name, "fuzz")
    shapes = question.shapes(drawn)

    @settings(max_examples=15)
    @given(st.data())
    def judged(data):
        answer = {}
        for key, shape in shapes.items():
            sizes = [data.draw(st.integers(0, 4)) if k is None else k for k in shape]
            pool = data.draw(st.lists(NUMBERS, min_size=1, max_size=4))
            seed = np.random.default_rng(data.draw(st.integers(0, 99)))
            answer[key] = seed.choice(pool, size=sizes)
        result = verdict(name, drawn, answer)
        assert result.conditions and result.fraction == 0
        assert all(isinstance(c.holds, bool) for c in result.conditions)
        broken = dict(answer)
        broken[data.draw(st.sampled_from(sorted(shapes)))] = data.draw(JUNK)
        assert verdict(name, drawn, broken).fraction == 0

    judged()


@pytest.mark.parametrize("a", ASSIGNMENTS, ids=lambda a: a.name)
def test_the_notebook_fits_the_questions(a):
    nb = nbformat.read(ROOT / "coursework" / "source" / a.name / f"{a.name}.ipynb", 4)
    nbformat.validate(nb)
    cells = {cell.metadata.nbgrader.grade_id: cell for cell in nb.cells if "nbgrader" in cell.metadata}
    assert len(cells) == sum("nbgrader" in cell.metadata for cell in nb.cells)
    graded = {name: cell for name, cell in cells.items() if cell.metadata.nbgrader.grade}
    assert set(graded) == {f"{q.name}-check" for q in a.questions} | {p.name for p in a.proofs}
    assert sum(q.points for q in a.questions) + sum(p.points for p in a.proofs) == 100
    for proof in a.proofs:
        assert graded[proof.name].cell_type == "markdown" and graded[proof.name].metadata.nbgrader.solution
        assert graded[proof.name].metadata.nbgrader.points == proof.points and proof.criteria
        assert proof.title in graded[proof.name].source and f"({proof.points} points" in graded[proof.name].source
    for question in a.questions:
        function = question.name.partition("-")[2]
        solution, locked = cells[question.name], graded[f"{question.name}-check"]
        assert solution.metadata.nbgrader.solution and not solution.metadata.nbgrader.locked
        assert locked.metadata.nbgrader.locked and locked.metadata.nbgrader.points == question.points
        assert locked.source == f'check("{question.name}", {function}, STUDENT)'
        # The stub takes the arrays of the instance and holds no line of a solution.
        stub, = ast.parse(solution.source).body
        assert stub.name == function and [arg.arg for arg in stub.args.args] == list(instance(question.name, "ada"))
        assert len(stub.body) == 1 and isinstance(stub.body[0], ast.Raise)
        text = cells[f"{question.name}-text"].source
        assert question.title in text and f"({question.points} points)" in text
        assert all(f'"{name}"' in solution.source for name in question.shapes(instance(question.name, "ada")))


@pytest.mark.parametrize("a", ASSIGNMENTS, ids=lambda a: a.name)
def test_the_book_names_what_an_assignment_asks(a):
    page = " ".join((ROOT / "chapters" / "coursework.md").read_text(encoding="utf-8").split())
    code, proof = (sum(q.points for q in part) for part in (a.questions, a.proofs))
    link = f"{{doc}}`{a.title} </coursework/release/{a.name}/{a.name}>`"
    assert re.search(rf"{re.escape(link)} \| [\w, ]+ \| {a.hours} \| {code}, {proof} \|", page)
    assert all(goal in page for goal in a.goals)
