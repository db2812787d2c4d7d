"""Read the MyST text of the pages: the few rules of fences and options that the tools of the book share.

The book itself is parsed by Sphinx; this small parser lets tests and converters read the sources without it.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
import yaml

ROOT = Path(__file__).resolve().parents[1]
STATEMENTS = ("theorem", "lemma", "proposition", "corollary")
REFERENCE = re.compile(r"\{prf:ref\}`(?:[^`<]*<)?([^`<>]+)>?`")
# As in CommonMark, a line that opens with backticks and has more of them further on is no fence.
_OPEN = re.compile(r"^( *)(`{3,}(?!.*`)|~{3,}|:{3,})\s*(?:\{([\w:.-]+)\})?\s*(.*)$")
_OPTION = re.compile(r"^:([\w-]+):\s*(.*)$")


@dataclass(frozen=True)
class Text:
    """Markdown outside every fence."""

    body: str


@dataclass(frozen=True)
class Fence:
    """A fence: a directive when it has a name, a code listing otherwise (`argument` is then the language)."""

    name: str
    argument: str
    options: dict[str, str]
    body: str
    source: str

    @property
    def label(self) -> str:
        return self.options.get("label") or self.options.get("name", "")

    @property
    def is_statement(self) -> bool:
        return self.name in {f"prf:{kind}" for kind in STATEMENTS}


def split(text: str) -> list[Text | Fence]:
    """The text as a sequence of plain Markdown and outermost fences."""
    parts: list[Text | Fence] = []
    plain: list[str] = []
    lines = text.split("\n")
    i = 0
    while i < len(lines):
        opening = _OPEN.match(lines[i])
        if not opening:
            plain.append(lines[i])
            i += 1
            continue
        indent, mark, name, argument = opening.groups()
        # A fence ends at the first line that repeats its mark at least as often, or with the text.
        closing = re.compile(rf"^ *{re.escape(mark[0])}{{{len(mark)},}} *$")
        end = next((j for j in range(i + 1, len(lines)) if closing.match(lines[j])), len(lines))
        parts.append(Text("\n".join(plain)))
        plain = []
        inside = [line[min(len(indent), len(line) - len(line.lstrip())):] for line in lines[i + 1:end]]
        options, body = _options(inside) if name else ({}, inside)
        source = "\n".join(lines[i:end + 1])
        parts.append(Fence(name or "", argument.strip(), options, "\n".join(body).strip("\n"), source))
        i = end + 1
    parts.append(Text("\n".join(plain)))
    return [p for p in parts if isinstance(p, Fence) or p.body.strip()]


def _options(lines: list[str]) -> tuple[dict[str, str], list[str]]:
    """Split the options of a directive (`:key: value` lines or a YAML block) from its body."""
    if lines and lines[0].strip() == "---":
        end = next((i for i in range(1, len(lines)) if lines[i].strip() == "---"), len(lines) - 1)
        found = yaml.safe_load(textwrap.dedent("\n".join(lines[1:end]))) or {}
        return {k: "" if v is None else str(v) for k, v in found.items()}, lines[end + 1:]
    options = {}
    for i, line in enumerate(lines):
        option = _OPTION.match(line.strip())
        if not option:
            return options, lines[i:]
        options[option[1]] = option[2].strip()
    return options, []


def directives(text: str) -> Iterator[Fence]:
    """All directives of a text, those inside other directives included."""
    for part in split(text):
        if isinstance(part, Fence) and part.name:
            yield part
            if part.name not in ("code-cell", "code", "code-block", "math"):
                yield from directives(part.body)


def pages(root: Path = ROOT) -> list[Path]:
    """The source files of the pages, in the order of the table of contents."""
    toc = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    names = [toc["root"], *(c["file"] for part in toc["parts"] for c in part["chapters"])]
    found = [[f for s in (".ipynb", ".md") if (f := root / (name + s)).exists()] for name in names]
    for name, files in zip(names, found, strict=True):
        if len(files) != 1:
            raise FileNotFoundError(f"_toc.yml names {name}: need either {name}.ipynb or {name}.md")
    return [files[0] for files in found]


def chapters(root: Path = ROOT) -> list[Path]:
    """The pages that are notebooks and run with the book; the students' notebooks do not."""
    return [p for p in pages(root) if p.suffix == ".ipynb" and not p.is_relative_to(root / "coursework")]


def markdown(page: Path) -> list[str]:
    """The Markdown of a page: the text cells of a notebook, or the whole file."""
    if page.suffix == ".ipynb":
        return [c.source for c in nbformat.read(page, 4).cells if c.cell_type == "markdown"]
    return [page.read_text(encoding="utf-8")]


def statements(root: Path = ROOT) -> list[tuple[Path, Fence]]:
    """Every theorem, lemma, proposition and corollary of the book with its page."""
    return [(page, d) for page in pages(root) for text in markdown(page) for d in directives(text)
            if d.is_statement]
