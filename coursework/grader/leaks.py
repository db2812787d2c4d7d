"""Search files for what must not be in them: lines that solve a question, and the secret of the course."""

from __future__ import annotations

import ast
import html
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

SHORTEST = 30  # characters without blanks; shorter lines stand anywhere
TEXT = {".css", ".html", ".inv", ".ipynb", ".js", ".json", ".md", ".py", ".txt", ".xml", ""}


def squeeze(text: str) -> str:
    """Text without markup, escapes and blanks, so that a line is found however a page shows it."""
    plain = html.unescape(re.sub(r"<[^>]{1,400}>", "", text)) if "<" in text else text
    return re.sub(r"\s+", "", plain.replace("\\n", "\n").replace('\\"', '"').replace("\\\\", "\\"))


def solving_lines(sources: Iterable[Path]) -> set[str]:
    """Return the lines of all functions called solve_... in Python files, squeezed."""
    found = set()
    for source in sources:
        text = source.read_text(encoding="utf-8")
        for node in ast.parse(text).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("solve_"):
                lines = map(str.strip, (ast.get_source_segment(text, node) or "").splitlines())
                found |= {squeeze(line) for line in lines
                          if not line.startswith(("def ", "return {", '"""', "#", "import ", "from "))}
    return {line for line in found if len(line) >= SHORTEST}


def search(files: Iterable[Path], forbidden: set[str]) -> Iterator[tuple[Path, str]]:
    """Yield each file, and the forbidden line that stands in it."""
    for file in files:
        if file.is_file() and file.suffix in TEXT:
            text = squeeze(file.read_text(encoding="utf-8", errors="ignore"))
            yield from ((file, line) for line in forbidden if line in text)
