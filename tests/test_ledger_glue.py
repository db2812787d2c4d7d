"""Statements of the book and checks of the ledger match one to one, and every check was reviewed."""

from __future__ import annotations

import json
import re
from collections import Counter

import fingerprints
import ledger_data
import myst
import pytest

import ledger
from ledger import MARGIN

STATEMENTS = myst.statements()
ASSUMPTIONS = {d.label for page in myst.pages() for text in myst.markdown(page) for d in myst.directives(text)
               if d.name == "prf:assumption"}
PREFIX = {"theorem": "thm-", "lemma": "lem-", "proposition": "prop-", "corollary": "cor-"}


@pytest.fixture(scope="module")
def records():
    return ledger_data.records()


def test_every_statement_has_a_label_that_says_its_kind():
    for page, statement in STATEMENTS:
        kind = statement.name.removeprefix("prf:")
        assert statement.label.startswith(PREFIX[kind]), (
            f"{page.name}: label of the {kind} that begins {statement.body[:60]!r}: {statement.label!r}")


def test_statements_of_the_book_are_the_statements_of_the_ledger():
    book = Counter((page.stem, statement.label) for page, statement in STATEMENTS)
    checks = Counter((s.chapter, s.label) for s in ledger.statements())
    assert book - checks == Counter(), "statements without a check"
    assert checks - book == Counter(), "checks without a statement"


def test_every_record_passes(records):
    failing = [r["label"] for r in records if not r["passed"] or not r["residual"] <= r["tolerance"]]
    assert failing == []
    assert {r["label"] for r in records} == {s.label for s in ledger.statements()}


def test_violations_break_assumptions_of_the_book(records):
    for record in records:
        for hypothesis, what, residual in record["violations"]:
            assert hypothesis in ASSUMPTIONS, f"{record['label']}: {hypothesis} is no assumption of the book"
            assert residual > MARGIN * record["tolerance"], f"{record['label']}: {what}"


def test_every_assumption_is_broken_somewhere(records):
    broken = {hypothesis for r in records for hypothesis, *_ in r["violations"]}
    assert ASSUMPTIONS <= broken, "assumptions that no check of the ledger breaks"


def test_every_check_was_reviewed_for_the_present_wording():
    assert fingerprints.changed() == []


# The guards themselves, on small books made for the purpose.

PAGE = """# Page

:::{prf:assumption} Width
:label: ass-width

The width is at least %s.
:::

:::{prf:theorem} Duality
:label: thm-duality

Under {prf:ref}`ass-width`,   the values
are %s.
:::
"""


def write_book(root, width="two", verdict="equal"):
    (root / "ledger").mkdir(exist_ok=True)
    (root / "_toc.yml").write_text("root: index\nparts: []\n")
    (root / "index.md").write_text(PAGE % (width, verdict))
    return root


@pytest.mark.parametrize(("changes", "complaint"), [
    ({}, None),
    ({"verdict": "  equal"}, None),
    ({"verdict": "not equal"}, "the statement of thm-duality changed"),
    ({"width": "three"}, "the statement of thm-duality changed"),
])
def test_fingerprints_notice_a_changed_statement_or_assumption(tmp_path, changes, complaint):
    root = write_book(tmp_path)
    assert re.match("the statement of thm-duality is new", fingerprints.changed(root)[0])
    (root / "ledger" / "reviewed.json").write_text(json.dumps(fingerprints.fingerprints(root)))
    write_book(root, **changes)
    found = fingerprints.changed(root)
    assert found == [] if complaint is None else len(found) == 1 and found[0].startswith(complaint)


RECORD = {"label": "thm-duality", "chapter": "index", "title": "$P$ against $D$", "instances": 3,
          "residual": 2e-9, "tolerance": 1e-8, "violations": [["ass-width", "one unit", 0.5]],
          "perturbations": [["a sign", 2.0]], "passed": True}


def build(root, records):
    """Build a page and a ledger with these records; returns the html of both and the warnings."""
    from io import StringIO

    from sphinx.application import Sphinx
    (root / "_build").mkdir(parents=True)
    (root / "ledger.md").write_text("# Ledger\n\n```{ledger-table}\n```\n")
    (root / "index.md").write_text(PAGE % ("two", "equal") + "\n```{toctree}\nledger\n```\n")
    kept = {"key": ledger_data.key(root), "records": records}
    (root / "_build" / "ledger.json").write_text(json.dumps(kept))
    settings = {"extensions": ["myst_parser", "sphinx_proof", "ledger_ext"],
                "myst_enable_extensions": ["colon_fence"]}
    warnings = StringIO()
    Sphinx(root, None, root / "out", root / "trees", "html", status=None, warning=warnings,
           confoverrides=settings).build()
    pages = [(root / "out" / f"{name}.html").read_text(encoding="utf-8") for name in ("index", "ledger")]
    return *pages, warnings.getvalue()


@pytest.fixture
def extension(monkeypatch):
    monkeypatch.syspath_prepend(str(myst.ROOT / "_ext"))


@pytest.mark.filterwarnings("default")  # the extensions of others warn about their own future
def test_extension_puts_the_record_into_the_page_and_the_ledger(tmp_path, extension):
    page, table, warnings = build(tmp_path, [RECORD])
    assert warnings == ""
    assert "ledger.html#ledger-thm-duality" in page
    assert "3 instances, worst residual 2e-9, tolerance 1e-8" in re.sub(r"<[^>]+>", "", page)
    assert 'id="ledger-thm-duality"' in table and "index.html#thm-duality" in table
    for text in ("index.html#ass-width", "one unit", "0.5", "a sign", "holds"):
        assert text in table


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(("records", "complaint"), [
    ([], "thm-duality has no check"),
    ([RECORD, RECORD | {"label": "thm-ghost"}], "thm-ghost is checked .* stands nowhere in the book"),
    ([RECORD | {"passed": False, "residual": 1.0}], "the check of thm-duality fails: residual 1, tolerance"),
    ([RECORD | {"chapter": "other"}], "the check of thm-duality is registered for the chapter other"),
    ([RECORD | {"violations": [["ass-ghost", "x", 1.0]]}], "ass-ghost is broken .* is no assumption"),
])
def test_extension_refuses_what_does_not_match(tmp_path, extension, records, complaint):
    assert re.search(f"WARNING: ledger: {complaint}", build(tmp_path, records)[2])
