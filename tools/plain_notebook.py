"""Replace the notebooks for download by versions that read well without MyST, with their figures in place."""

from __future__ import annotations

import copy
import json
import textwrap
from dataclasses import replace
from pathlib import Path

import execution_cache
import nbformat
import yaml
from myst import chapters
from plain_markdown import Book, convert, inline
from pybtex.database import parse_file

NOTE = """> This is the plain version of a chapter of *{title}*, for Jupyter, Colab and editors. The
> chapter as a page has working links. The code needs the book's package `dualkit`; the book's README says how
> to install it."""


def convert_notebook(nb: nbformat.NotebookNode, book: Book, title: str) -> nbformat.NotebookNode:
    nb = copy.deepcopy(nb)
    book = replace(book, glued=dict(glued(nb)))
    cells = []
    for cell in nb.cells:
        settings, tags = cell.metadata.get("mystnb", {}), cell.metadata.get("tags", [])
        hidden = {"hide-input", "remove-input", "hide-cell", "remove-cell"} & set(tags)
        cell.metadata = nbformat.from_dict({"jupyter": {"source_hidden": True}} if hidden else {})
        if cell.cell_type == "markdown":
            cell.source = convert(cell.source, book)
        if cell.source.strip():
            cells.append(cell)
        if "figure" in settings:
            figure = settings["figure"]
            number = f"**Figure {book.name(figure['name'])}.** " if "name" in figure else ""
            caption = inline(textwrap.dedent(figure.get("caption", "")), book).strip()
            cells.append(nbformat.v4.new_markdown_cell(number + caption, id=f"caption-{cell.id}"[:64]))
    cells.insert(1, nbformat.v4.new_markdown_cell(NOTE.format(title=title), id="plain-version"))
    nb.cells = cells
    return nb


def glued(nb: nbformat.NotebookNode):
    """The values that the cells of a notebook stored with glue()."""
    for cell in nb.cells:
        for output in cell.get("outputs", []):
            value = output.get("data", {}).get("application/papermill.record/text/plain")
            if value is not None:
                yield output.metadata["scrapbook"]["name"], value.strip("'")


def sources(path: Path) -> dict[str, tuple[str, str, str]]:
    """Key of each entry of the bibliography -> authors, year and address."""
    found = {}
    for key, entry in parse_file(str(path)).entries.items():
        people = [" ".join(p.prelast_names + p.last_names).strip("{}") for p in
                  entry.persons.get("author") or entry.persons.get("editor", [])]
        who = " and ".join(people) if len(people) < 3 else f"{people[0]} et al."
        fields = entry.fields
        address = f"https://doi.org/{fields['doi']}" if "doi" in fields else fields.get("url", "")
        found[key] = (who or fields.get("title", key), fields.get("year", "n.d."), address)
    return found


def macros(config: dict) -> dict[str, list]:
    """The macros that the pages' MathJax knows."""
    found = config["sphinx"]["config"]["mathjax3_config"]["tex"]["macros"]
    return {name: [value, 0] if isinstance(value, str) else value for name, value in found.items()}


def convert_all(root: Path) -> None:
    """Replace the notebooks for download in the built site."""
    config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    labels = json.loads((root / "_build" / "labels.json").read_text(encoding="utf-8"))
    book = Book(labels, macros(config), sources(root / config["bibtex_bibfiles"][0]))
    for page in chapters(root):
        executed = execution_cache.executed(nbformat.read(page, 4), root)
        plain = convert_notebook(executed, book, config["title"])
        target = root / "_build" / "html" / "_sources" / page.relative_to(root)
        target.write_text(nbformat.writes(plain) + "\n", encoding="utf-8")
