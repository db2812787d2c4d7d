"""Write what every label of the book is called in print to _build/labels.json, for the plain notebooks.

"thm-duality" -> "Theorem 1.4", "eq-primal" -> "1.2", "fig-ellipse" -> "1.3", "sec-setting" -> the title of
the section, "page:ledger" -> the title of the page ledger.md.
"""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath

from docutils import nodes


def number(env, docname: str, kind: str, node_id: str) -> str:
    return ".".join(map(str, env.toc_fignumbers.get(docname, {}).get(kind, {}).get(node_id, ())))


def collect(env) -> dict[str, str]:
    names = {f"page:{PurePosixPath(page).name}": title.astext() for page, title in env.titles.items()}
    for label, (docname, node_id, title) in env.get_domain("std").labels.items():
        figure, table = (number(env, docname, kind, node_id) for kind in ("figure", "table"))
        names[label] = figure or table or str(title)
    for label, box in getattr(env, "sphinx_exercise_registry", {}).items():
        names[label] = f"{box['type'].title()} {number(env, box['docname'], 'exercise', label)}".strip()
    for label, box in getattr(env, "proof_list", {}).items():
        count = number(env, box["docname"], box["countertype"], label)
        names[label] = f"{box['realtype'].title()} {count}".strip()
    for label, (docname, serial) in env.get_domain("math").equations.items():
        names[label] = number(env, docname, "displaymath", nodes.make_id(f"equation-{label}")) or str(serial)
    return names


def write(app, error):
    if error is None and app.builder.name == "html":
        names = json.dumps(collect(app.env), indent=1, sort_keys=True)
        (Path(app.srcdir) / "_build" / "labels.json").write_text(names, encoding="utf-8")


def setup(app):
    app.connect("build-finished", write)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
