"""What the theme and the extensions leave to be mended: third parties, repeated ids, figures, weight."""

from __future__ import annotations

import re
import shutil
from importlib.util import find_spec
from pathlib import Path

from docutils import nodes

# What tex-chtml.js asks for: its fonts, and the TeX extensions that a formula may load.
MATHJAX = ("tex-chtml.js", "input/tex/extensions", "output/chtml/fonts/woff-v2")
# sphinx-proof and sphinx-exercise give these ids to every box.
REPEATED_IDS = {"proof", "proof-content", "exercise-content", "solution-content"}


def drop_assets(app, pagename, templatename, context, doctree):
    """Leave out sphinx-thebe, which carries the address of a third party, and files that are listed twice."""
    for kind in ("script_files", "css_files"):
        kept = {}
        for asset in context.get(kind, []):
            name = str(getattr(asset, "filename", asset) or "")
            body = (getattr(asset, "attributes", None) or {}).get("body") or ""
            if "thebe" not in f"{name}{body}".lower():
                kept.setdefault((name, body), asset)
        context[kind] = list(kept.values())


class Details(nodes.General, nodes.Element):
    """A box that opens on a click, without a script; `summary` holds what shows when it is closed."""


class Summary(nodes.General, nodes.TextElement):
    pass


def mend_boxes(app, doctree, docname):
    """Name proofs by a class and drop the ids that every box has; fold the boxes of class "dropdown"."""
    for node in list(doctree.findall(nodes.Element)):
        ids = node.get("ids") or []
        if "proof" in ids:
            node["classes"].append("proof-block")
            mend_proof(node)
        node["ids"] = [i for i in ids if i not in REPEATED_IDS]
        if {"proof-block", "solution"} & set(node["classes"]) and "dropdown" in node["classes"]:
            fold(node)


def mend_proof(box):
    """sphinx-proof writes "Proof. " into the first paragraph: set it in italics, or drop it if folded."""
    first = box.next_node(nodes.Text)
    _, _, rest = first.partition("Proof. ")
    start = [] if "dropdown" in box["classes"] else [nodes.emphasis("", "Proof."), nodes.Text(" ")]
    first.parent.replace(first, [*start, nodes.Text(rest)])


def fold(box):
    title = box[0] if isinstance(box[0], nodes.title) else None
    summary = Summary("", "", *(title.children if title else [nodes.Text("Proof")]))
    kept = [c for c in box["classes"] if c in ("proof-block", "solution")]
    content = [c for c in box.children if c is not title]
    box.replace_self(Details("", summary, *content, ids=box["ids"], classes=["folded", *kept]))


def mark_figures(app, doctree, docname):
    """Figures are transparent SVG in ink for both themes: tell the theme to leave them alone in dark mode."""
    for image in doctree.findall(nodes.image):
        if image.get("uri", "").endswith(".svg") and "dark-light" not in image["classes"]:
            image["classes"].append("dark-light")


def keep_punctuation(app, doctree, docname):
    """A formula is a box to the browser, which may break the line between it and the comma that follows."""
    for formula in list(doctree.findall(nodes.math)):
        parent, place = formula.parent, formula.parent.index(formula)
        after = parent[place + 1] if place + 1 < len(parent) else None
        ending = re.match(r"(-\w+|[.,;:!?)\]’”])+", after) if isinstance(after, nodes.Text) else None
        if ending:
            rest = [nodes.Text(after[ending.end():])] if after[ending.end():] else []
            kept = nodes.inline("", "", formula.deepcopy(), nodes.Text(ending[0]), classes=["keep"])
            parent[place:place + 2] = [kept, *rest]


def copy_mathjax(app, error):
    """Copy the few files of MathJax that a page needs; the package holds twenty times as much."""
    if error or app.builder.name != "html":
        return
    source = Path(find_spec("sphinx-mathjax-offline").origin).parent / "static" / "mathjax"
    for name in MATHJAX:
        target = Path(app.outdir) / "_static" / "mathjax" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (source / name).is_dir():
            shutil.copytree(source / name, target, dirs_exist_ok=True)
        else:
            shutil.copy(source / name, target)


def drop_icon_script(app, error):
    """The theme has its icons as a font and as a script of 1.5 MB that blocks the page: keep the font."""
    if error or app.builder.name != "html":
        return
    script = re.compile(r'<script src="[^"]*/fontawesome\.js[^"]*"></script>\n?')
    for page in Path(app.outdir).rglob("*.html"):
        page.write_text(script.sub("", page.read_text(encoding="utf-8")), encoding="utf-8")
    for file in (Path(app.outdir) / "_static" / "scripts").glob("fontawesome.js*"):
        file.unlink()


def tag(name):
    """Visitors that write a node as an html element."""
    return (lambda self, node: self.body.append(self.starttag(node, name)),
            lambda self, node: self.body.append(f"</{name}>"))


def setup(app):
    app.add_node(Details, html=tag("details"))
    app.add_node(Summary, html=tag("summary"))
    app.connect("doctree-resolved", mend_boxes)
    app.connect("doctree-resolved", mark_figures)
    app.connect("doctree-resolved", keep_punctuation)
    app.connect("html-page-context", drop_assets, priority=900)
    app.connect("build-finished", copy_mathjax)
    app.connect("build-finished", drop_icon_script)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
