"""The theorem ledger in the pages: a line under every statement, and the directive {ledger-table}.

The build is refused when a statement has no check, a check has no statement, or a check fails.

Everything happens after all pages are read, from the records alone, so that no page can show an old residual.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path, PurePosixPath

from docutils import nodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))
import ledger_data
from ledger_nodes import boxes, line, number, table
from myst import STATEMENTS

logger = logging.getLogger(__name__)


class LedgerPlace(nodes.General, nodes.Element):
    """Where {ledger-table} stands until the numbers of the statements are known."""


class LedgerTable(SphinxDirective):
    def run(self):
        return [LedgerPlace()]


def load(app):
    app.ledger = {r["label"]: r for r in ledger_data.records(Path(app.srcdir))}


def check(app, env):
    """Statements and records must match one to one; -W turns each of these warnings into a failed build."""
    found = boxes(env)
    for label, box in found.items():
        record = app.ledger.get(label)
        if re.fullmatch(rf"{box['realtype']}-\d+", label):
            problem = f"a {box['realtype']} has no label: give it one and register its check in ledger/"
        elif record is None:
            problem = f"{label} has no check in ledger/: register one"
        elif record["chapter"] != PurePosixPath(box["docname"]).name:
            problem = f"the check of {label} is registered for the chapter {record['chapter']}"
        elif not record["passed"]:
            problem = (f"the check of {label} fails: residual {number(record['residual'])}, tolerance "
                       f"{number(record['tolerance'])}; `python -m ledger` prints every residual")
        else:
            continue
        logger.warning("ledger: %s", problem, location=box["docname"])
    for label, record in app.ledger.items():
        if label not in found:
            logger.warning("ledger: %s is checked in ledger/%s.py but stands nowhere in the book",
                           label, record["chapter"])
        for hypothesis, *_ in record["violations"]:
            if env.proof_list.get(hypothesis, {}).get("realtype") != "assumption":
                logger.warning("ledger: %s is broken by the check of %s but is no assumption of the book",
                               hypothesis, label)
    app.ledger_page, app.ledger_titles = None, {}
    for docname in env.found_docs:
        for node in env.get_doctree(docname).findall(nodes.Element):
            if isinstance(node, LedgerPlace):
                app.ledger_page = docname
            elif node.get("label") in found:
                app.ledger_titles[node["label"]] = node["title"]


def insert(app, doctree, docname):
    """Put the lines under the statements of a page, and the cards into the ledger page."""
    for box in list(doctree.findall(nodes.Element)):
        if box.get("realtype") in STATEMENTS and box["label"] in app.ledger:
            box += line(app, docname, app.ledger[box["label"]])
    for place in list(doctree.findall(LedgerPlace)):
        place.replace_self(table(app, docname))


def setup(app):
    app.add_directive("ledger-table", LedgerTable)
    app.add_node(LedgerPlace)
    app.connect("builder-inited", load)
    app.connect("env-updated", check, priority=900)
    app.connect("doctree-resolved", insert, priority=400)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
