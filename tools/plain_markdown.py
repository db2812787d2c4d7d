"""Turn MyST text into Markdown that reads well in plain Jupyter, Colab and editors.

Boxes become quotations with a bold heading, proofs and solutions fold with <details>, references become the
names and numbers that the book prints, and the macros for formulas are written out.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from myst import Fence, Text, split

ROLE = re.compile(r"\{([\w:.-]+)\}(`+)(.+?)\2", re.S)
DISPLAY = re.compile(r"\$\$(.+?)\$\$(?:[ ]*\(([\w:.-]+)\))?", re.S)
MATH = re.compile(r"(\$\$.+?\$\$|(?<![\\$])\$[^$]+?\$)", re.S)
CODE = re.compile(r"(`+[^`]+`+)")
LINK = re.compile(r"(?<!!)\[([^\]\n]*)\]\((?!https?:|mailto:)([^)\s]*)\)")
QUOTED = {"note", "tip", "hint", "important", "warning", "caution", "attention", "seealso", "admonition",
          "sidebar", "margin", "epigraph"}
PLAIN = {"grid", "grid-item", "tab-set", "div", "card", "grid-item-card", "tab-item"}
SILENT = {"bibliography", "tableofcontents", "contents", "exercise-end", "solution-end", "raw"}


@dataclass(frozen=True)
class Book:
    """What a text alone does not know: names of labels, macros, sources and the values that {glue} quotes."""

    labels: dict[str, str]
    macros: dict[str, list]                     # name -> body, number of arguments
    sources: dict[str, tuple[str, str, str]]    # key -> authors, year, address
    glued: dict[str, str] = field(default_factory=dict)

    def name(self, label: str) -> str:
        try:
            return self.labels[label]
        except KeyError:
            raise KeyError(f"the book has no label {label!r}") from None

    def page(self, target: str) -> str:
        return self.name("page:" + PurePosixPath(target).name.partition(".")[0])


def quote(text: str) -> str:
    # A formula over several lines would take the quotation marks into itself.
    text = DISPLAY.sub(lambda m: " ".join(m[0].split()), text)
    return "\n".join(f"> {line}".rstrip() for line in text.split("\n"))


def fold(title: str, text: str) -> str:
    return f"<details>\n<summary>{title}</summary>\n\n{text}\n\n</details>"


def expand(tex: str, macros: dict[str, list]) -> str:
    """Write out the book's macros."""
    for name, (body, arguments) in macros.items():
        pattern = re.compile(rf"([\^_]?)\\{name}(?![A-Za-z])")
        while found := pattern.search(tex):
            end, result = found.end(), body
            for i in range(1, arguments + 1):
                start, end = group(tex, end)
                result = result.replace(f"#{i}", tex[start:end])
                end += 1
            result = f"{found[1]}{{{result}}}" if found[1] and "{" in result else found[1] + result
            # A command must not run into the letter that follows it.
            gap = " " if result[-1:].isalpha() and tex[end:end + 1].isalpha() else ""
            tex = tex[:found.start()] + result + gap + tex[end:]
    return tex


def group(tex: str, start: int) -> tuple[int, int]:
    """Bounds of the text inside the braces that open at or after `start`."""
    start = tex.index("{", start) + 1
    depth, end = 1, start
    while depth:
        depth += (tex[end] == "{") - (tex[end] == "}") if tex[end - 1] != "\\" else 0
        end += 1
    return start, end - 1


def role(name: str, content: str, book: Book) -> str:
    """The text that a role stands for."""
    named = re.fullmatch(r"(.*?)\s*<([^<>]+)>", content, re.S)
    title, target = (named[1], named[2]) if named else ("", content)
    if name.startswith("glue"):
        key, _, style = target.partition(":")
        return format(float(book.glued[key]), style) if style else book.glued[key]
    if name.startswith("cite"):
        textual = name in ("cite:t", "cite:ts", "cite:ct")
        found = [(f"{who} ({year})" if textual else f"{who}, {year}", address)
                 for who, year, address in (book.sources[key.strip()] for key in target.split(","))]
        joined = "; ".join(f"[{text}]({address})" if address else text for text, address in found)
        return joined if textual else f"[{joined}]"
    if name == "eq":
        return f"({book.name(target)})"
    if name == "numref":
        number = book.name(target)
        return title.replace("%s", number).replace("{number}", number) if title else f"Figure {number}"
    if name in ("prf:ref", "ref"):
        return title or book.name(target)
    if name == "doc":
        return title or book.page(target)
    if name == "math":
        return f"${content}$"
    return f"<{name}>{content}</{name}>" if name in ("sub", "sup", "kbd") else title or content


def inline(text: str, book: Book) -> str:
    """Markdown without fences: roles, labelled displays, links within the book, macros, comments, targets."""
    text = re.sub(r"^(%.*|\([\w:.-]+\)=|\+\+\+.*)\n?", "", text, flags=re.M)
    text = ROLE.sub(lambda m: role(m[1], m[3], book), text)

    def display(m: re.Match) -> str:
        tag = f"\\tag{{{book.name(m[2])}}}\n" if m[2] else ""
        return f"$${m[1]}{tag}$$"

    def link(m: re.Match) -> str:
        return m[1] or (book.name(m[2][1:]) if m[2].startswith("#") else book.page(m[2]))

    text = LINK.sub(link, DISPLAY.sub(display, text))
    pieces = CODE.split(text)
    pieces[::2] = [MATH.sub(lambda m: expand(m[0], book.macros), piece) for piece in pieces[::2]]
    return "".join(pieces)


def convert(text: str, book: Book) -> str:
    """One text cell."""
    return "\n\n".join(c for part in split(text) if (c := _part(part, book)))


def _part(part: Text | Fence, book: Book) -> str:
    if isinstance(part, Text):
        return inline(part.body, book).strip("\n")
    if not part.name:
        return part.source
    kind = part.name.removeprefix("prf:")
    title, folded = inline(part.argument, book), "dropdown" in part.options.get("class", "")
    body: Callable[[], str] = lambda: convert(part.body, book)  # noqa: E731
    if kind == "proof":
        return fold("Proof", body()) if folded else f"*Proof.* {body()} ∎"
    if part.name.startswith("prf:") or kind in ("exercise", "exercise-start"):
        name = book.labels.get(part.label, kind.removesuffix("-start").title())
        heading = f"**{name}**" + (f" ({title})" if title else "")
        text = f"{heading}\n\n{body()}".strip()
        return text if kind == "exercise-start" else quote(text)
    if kind in ("solution", "solution-start"):
        heading = f"Solution to {book.name(part.argument)}"
        return fold(heading, body()) if kind == "solution" else f"**{heading}**"
    if kind == "dropdown" or kind in QUOTED and folded:
        return fold(title or kind.title(), body())
    if kind in QUOTED:
        heading = title if kind == "admonition" else kind.title().replace("Seealso", "See also")
        rest = f"{title}\n\n{body()}" if title and kind != "admonition" else body()
        return quote(f"**{heading}**\n\n{rest}")
    if kind in PLAIN:
        return (f"**{title}**\n\n" if title and kind.endswith(("card", "item")) else "") + body()
    if kind == "math":
        tag = f"\n\\tag{{{book.name(part.label)}}}" if part.label else ""
        return inline(f"$$\n{part.body}{tag}\n$$", book)
    if kind in ("code", "code-block"):
        return f"```{part.argument}\n{part.body}\n```"
    if kind in SILENT:
        return ""
    raise ValueError(f"tools/plain_notebook.py has no plain form for the directive {{{part.name}}}: add one")
