"""How a record of the ledger looks: the line under its statement and its card on the ledger's page."""

from __future__ import annotations

import re

import ledger_data
from docutils import nodes
from myst import STATEMENTS
from sphinx.util.nodes import make_refnode

number = ledger_data.number


def boxes(env) -> dict[str, dict]:
    """The statements of the book; sphinx-proof names one without a label after its kind and a counter."""
    return {k: b for k, b in getattr(env, "proof_list", {}).items() if b["realtype"] in STATEMENTS}


def rich(text: str) -> list[nodes.Node]:
    """A line of a record as nodes: $formulas$ and `code` are set as such."""
    kinds = {"$": nodes.math, "`": nodes.literal}
    parts = [p for p in re.split(r"(\$[^$]+\$|`[^`]+`)", text) if p]
    return [kinds[p[0]](p[1:-1], p[1:-1]) if p[0] in kinds and len(p) > 2 else nodes.Text(p) for p in parts]


def paragraph(css: str, *content: nodes.Node | str) -> nodes.paragraph:
    node = nodes.paragraph(classes=[css])
    for part in content:
        node += nodes.Text(part) if isinstance(part, str) else part
    return node


def numbers(env, label: str) -> tuple[int, ...]:
    box = env.proof_list[label]
    return env.toc_fignumbers.get(box["docname"], {}).get(box["countertype"], {}).get(label, ())


def link(app, docname: str, label: str) -> nodes.Node:
    """A link to a statement or assumption by name and number; the plain label of one that the book lacks."""
    if label not in app.env.proof_list:
        return nodes.literal(label, label)
    box = app.env.proof_list[label]
    name = f"{box['realtype'].title()} {'.'.join(map(str, numbers(app.env, label)))}".strip()
    return make_refnode(app.builder, docname, box["docname"], label, nodes.Text(name))


def mark(record: dict, word: str) -> nodes.Node:
    word, css = (f"✓ {word}", "ledger-pass") if record["passed"] else ("✗ FAILS", "ledger-fail")
    return nodes.inline("", word, classes=["ledger-mark", css])


def residuals(record: dict) -> list[nodes.Node]:
    many = "instance" if record["instances"] == 1 else "instances"
    return [nodes.Text(f"{record['instances']} {many}, worst residual "), figure(record["residual"]),
            nodes.Text(", tolerance "), figure(record["tolerance"])]


def figure(value: float) -> nodes.Node:
    """A number that is not broken over two lines."""
    return nodes.inline("", number(value), classes=["keep"])


def line(app, docname: str, record: dict) -> nodes.Node:
    """The line under a statement."""
    target = residuals(record)
    if app.ledger_page:
        target = [make_refnode(app.builder, docname, app.ledger_page, f"ledger-{record['label']}", target)]
    return paragraph("ledger-line", mark(record, "Checked:"), " ", *rich(record["title"]), "; ", *target, ".")


def items(title: str, css: str, rows: list[tuple[list[nodes.Node], float]]) -> list[nodes.Node]:
    if not rows:
        return []
    listing = nodes.bullet_list(classes=[css])
    for content, residual in rows:
        row = paragraph("ledger-row", nodes.inline("", "", *content), figure(residual))
        listing += nodes.list_item("", row)
    return [paragraph("ledger-heading", title), listing]


def card(app, docname: str, record: dict) -> nodes.Node:
    """One statement on the ledger page."""
    node = nodes.container(ids=[f"ledger-{record['label']}"], classes=["ledger-card"])
    node += paragraph("ledger-title", link(app, docname, record["label"]),
                      *rich(app.ledger_titles.get(record["label"], "")), " ", mark(record, "holds"))
    node += paragraph("ledger-what", *rich(record["title"]))
    node += paragraph("ledger-facts", *residuals(record), ".")
    node += items("Without a hypothesis: residual", "ledger-violations",
                  [([link(app, docname, hypothesis), nodes.Text(", "), *rich(what)], residual)
                   for hypothesis, what, residual in record["violations"]])
    node += items("Wrong on purpose: residual", "ledger-perturbations",
                  [(rich(what), residual) for what, residual in record["perturbations"]])
    return node


def table(app, docname: str) -> list[nodes.Node]:
    """All cards in the order of the book, under the titles of their chapters."""
    labels = [label for label in boxes(app.env) if label in app.ledger]
    shown = [app.ledger[label] for label in sorted(labels, key=lambda label: numbers(app.env, label))]
    held, tried = sum(r["passed"] for r in shown), sum(r["instances"] for r in shown)
    without, wrong = (sum(len(r[kind]) for r in shown) for kind in ("violations", "perturbations"))
    result = [paragraph("ledger-summary", f"{held} of {len(shown)} statements hold on {tried} instances; "
                        f"{without} instances without a hypothesis and {wrong} false statements were tried.")]
    chapter = None
    for record in shown:
        page = app.env.proof_list[record["label"]]["docname"]
        if page != chapter:
            chapter = page
            title = make_refnode(app.builder, docname, page, "", nodes.Text(app.env.titles[page].astext()))
            result.append(nodes.rubric("", "", title, classes=["ledger-chapter"]))
        result.append(card(app, docname, record))
    return result
