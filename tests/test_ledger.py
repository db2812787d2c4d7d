"""Every registered statement holds, and its check can fail."""

import ledger_data
import pytest

import ledger
from ledger import MARGIN, Chapter, Record

STATEMENTS = ledger.statements()


@pytest.fixture(scope="module")
def records():
    return {record["label"]: record for record in ledger_data.records()}


@pytest.mark.parametrize("label", [s.label for s in STATEMENTS])
def test_statement_holds_and_its_check_is_sharp(label, records):
    record = records[label]
    assert record["residual"] <= record["tolerance"]
    for hypothesis, what, residual in record["violations"]:
        assert residual > MARGIN * record["tolerance"], f"without {hypothesis} ({what}) the residual is still small"
    assert record["perturbations"], "a check needs a perturbed statement that makes it fail"
    for what, residual in record["perturbations"]:
        assert residual > MARGIN * record["tolerance"], f"the check does not notice: {what}"
    assert record["passed"]


def test_statements_hold_for_another_seed():
    statement = next(s for s in STATEMENTS if s.label == "cor-certificate")
    assert statement.run(seed=1).passed


def test_labels_are_unique():
    labels = [s.label for s in STATEMENTS]
    assert len(labels) == len(set(labels)) > 0


def chapter_with(residual, perturbed):
    chapter = Chapter("scratch")

    @chapter.statement("thm-x", "scratch", 1e-6, {"perturbed": {"residual": perturbed}})
    def check(rng, residual=residual):
        yield residual

    return chapter


@pytest.mark.parametrize(
    ("residual", "perturbed", "passed"),
    [
        (0.0, 1.0, True),
        (1e-5, 1.0, False),
        (0.0, 1e-5, False),
        (float("nan"), 1.0, False),
        (0.0, float("nan"), True),
    ],
)
def test_a_check_passes_only_if_it_holds_and_its_perturbation_misses_by_far(residual, perturbed, passed):
    assert chapter_with(residual, perturbed).statements[0].run().passed is passed


def test_a_violation_with_a_small_residual_fails_the_record():
    chapter = chapter_with(0.0, 1.0)
    chapter.violation("thm-x", "ass-y", "harmless")(lambda rng: iter([1e-7]))
    assert not chapter.statements[0].run().passed


def test_a_check_without_instances_is_refused():
    chapter = Chapter("scratch")
    chapter.statement("thm-x", "nothing", 1e-6, {})(lambda rng: iter(()))
    with pytest.raises(ValueError, match="thm-x tried no instance"):
        chapter.statements[0].run()


def test_a_label_is_registered_once_and_violations_need_it():
    chapter = chapter_with(0.0, 1.0)
    with pytest.raises(ValueError, match="registered twice"):
        chapter.statement("thm-x", "again", 1.0, {})(lambda rng: iter([0.0]))
    with pytest.raises(ValueError, match="thm-z has no check"):
        chapter.violation("thm-z", "ass-y", "orphan")


def test_a_record_without_perturbation_does_not_pass():
    assert not Record("thm-x", "scratch", "t", 1, 0.0, 1e-6, (), ()).passed
