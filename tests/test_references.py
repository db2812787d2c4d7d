"""What the package says of the book: the chapters and statements it names are there."""

import ast
import re

import myst

FOLDER = myst.ROOT / "dualkit"
# Chapters still to come. Once the file is there its own title counts.
TO_COME = {
    "splines": ("One-dimensional data: splines", {"thm-spline"}),
    "neural_collapse": ("Batch normalisation and neural collapse", {"thm-batchnorm", "lem-batchnorm-whitens"}),
    "other_losses": ("Other losses", {"thm-margin", "thm-cross-entropy"}),
    "two_layer_relu": ("Two-layer ReLU networks", {"thm-convex-program"}),
}
CHAPTERS = {path.stem: "\n".join(myst.markdown(path)) for path in (myst.ROOT / "chapters").glob("*.ipynb")}
MISSING = [entry for stem, entry in TO_COME.items() if stem not in CHAPTERS]


def strings():
    """Every string of the package with the line breaks inside it removed, docstrings and messages."""
    for path in sorted(FOLDER.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield path.name, " ".join(node.value.split())


def test_every_chapter_named_is_a_chapter_of_the_book():
    titles = {re.search(r"(?m)^# (.+)$", text)[1] for text in CHAPTERS.values()} | {title for title, _ in MISSING}
    quoted = r"""(["'][A-Z][^"']+["'])"""
    lists = rf"""[Cc]hapters? {quoted}(?:, {quoted})*(?: and {quoted})?"""
    named = {(file, title[1:-1]) for file, text in strings() for found in re.finditer(lists, text)
             for title in re.findall(quoted, found[0])}
    assert len(named) > 12
    assert {(file, title) for file, title in named if title not in titles} == set()


def test_every_statement_named_is_in_the_book():
    labels = {label for text in CHAPTERS.values() for label in re.findall(r"(?m)^:label: (\S+)", text)}
    labels |= {label for _, more in MISSING for label in more}
    named = {(file, label) for file, text in strings()
             for label in re.findall(r"\b(?:thm|prop|cor|lem|ass|ex|sec)-[a-z]+(?:-[a-z]+)*", text)}
    assert {"thm-scalar", "ex-one-output"} <= {label for _, label in named}
    assert {(file, label) for file, label in named if label not in labels} == set()
