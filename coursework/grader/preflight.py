"""Make a submitted notebook gradable without touching the student's answers, or say why it is not.

Nothing is taken over from the submission but the text of cells and the pictures in Markdown cells. Locked cells,
the order of the questions, metadata and kernel come from the release.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

MOST_CELLS, MOST_TEXT, MOST_PICTURES = 2000, 2_000_000, 20_000_000
# What a notebook writes as the student's id, and what stands there when it was handed out.
STUDENT = re.compile(r"""^STUDENT\s*=\s*["'](.*?)["']""", re.MULTILINE)
PLACEHOLDER = "your-id"


class Unreadable(Exception):
    """The submission cannot be graded; the text says why, for the student."""


@dataclass
class Cell:
    """A cell as submitted: its kind, its text, where its metadata say that it belongs, its pictures."""

    kind: str
    source: str
    places: tuple[str, ...]
    attachments: dict
    chosen: str = ""


@dataclass(frozen=True)
class Repaired:
    """A notebook with the release's frame and the student's answers; what was mended; whose it says it is."""

    notebook: NotebookNode
    notes: tuple[str, ...]
    student: str


def read(data: bytes) -> list[Cell]:
    """Return the cells of a notebook of any format; Unreadable if it is none."""
    if not data.strip(b"\0 \t\r\n"):
        raise Unreadable(f"the file is empty ({len(data)} bytes)")
    try:
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError:
        raise Unreadable("the file is not a notebook: it is not text") from None
    try:
        content = json.loads(text)
    except (ValueError, RecursionError, MemoryError):
        conflict = re.search(r"^(<{7}|>{7}) ", text, re.MULTILINE)
        if conflict:
            line = text.count("\n", 0, conflict.start()) + 1
            raise Unreadable(f"the file holds an unresolved merge conflict, see its line {line}") from None
        raise Unreadable("the file is not a notebook: it is not valid JSON, perhaps cut off") from None
    if not isinstance(content, dict):
        raise Unreadable("the file is not a notebook: it holds no cells")
    cells = list(_cells(content))
    if len(cells) > MOST_CELLS or sum(len(cell.source) for cell in cells) > MOST_TEXT:
        raise Unreadable(f"the notebook has {len(cells)} cells; more than {MOST_CELLS}, or too much text in them")
    return cells


def _cells(content: dict) -> Iterator[Cell]:
    sheets = content.get("worksheets")  # formats before 4
    lists = [sheet.get("cells") for sheet in sheets if isinstance(sheet, dict)] if isinstance(sheets, list) else \
        [content.get("cells")]
    if not any(isinstance(cells, list) for cells in lists):
        raise Unreadable("the file is not a notebook: it holds no cells")
    for cell in (cell for cells in lists if isinstance(cells, list) for cell in cells if isinstance(cell, dict)):
        source = cell.get("source", cell.get("input", ""))
        source = "".join(map(str, source)) if isinstance(source, list) else str(source)
        metadata = cell.get("metadata") if isinstance(cell.get("metadata"), dict) else {}
        nbgrader = metadata.get("nbgrader") if isinstance(metadata.get("nbgrader"), dict) else {}
        pictures = cell.get("attachments") if isinstance(cell.get("attachments"), dict) else {}
        kind = "code" if cell.get("cell_type") == "code" else "markdown"
        # Some editors drop nbgrader's metadata and keep the cell's id, some move the id into the metadata.
        places = (nbgrader.get("grade_id"), cell.get("id"), metadata.get("id"))
        yield Cell(kind, source.replace("\r\n", "\n"), tuple(p for p in places if isinstance(p, str)), pictures)


def repair(cells: list[Cell], release: NotebookNode) -> Repaired:
    """Return the release's notebook with these answers, and the student's own cells where they stood."""
    frame = {cell.metadata.nbgrader.grade_id: cell for cell in release.cells if "nbgrader" in cell.metadata}
    notes: list[str] = []
    _place(cells, frame, notes)
    answers, extra = {}, {"": []}
    anchor = ""
    for cell in cells:
        if cell.chosen:
            answers[cell.chosen] = cell
            anchor = cell.chosen
        else:
            extra.setdefault(anchor, []).append(cell)
    if [name for name in frame if name in answers] != list(answers):
        notes.append("questions put back in order")
    result = new_notebook(metadata=copy.deepcopy(release.metadata))
    room = [MOST_PICTURES]
    for name in ("", *frame):
        if name:
            result.cells.append(_answer(name, frame[name], answers.get(name), notes, room))
        for cell in extra.get(name, ()):
            make = new_code_cell if cell.kind == "code" else new_markdown_cell
            result.cells.append(_with_pictures(make(cell.source, id=f"own-{len(result.cells)}"), cell, room))
    own = [match[1].strip() for cell in cells for match in STUDENT.finditer(cell.source)]
    return Repaired(result, tuple(dict.fromkeys(notes)), own[-1] if own and own[-1] != PLACEHOLDER else "")


def _place(cells: list[Cell], frame: dict[str, NotebookNode], notes: list[str]) -> None:
    """Decide which cell answers what: `chosen` of each; copies of locked cells are taken out of the list."""
    found: dict[str, list[Cell]] = {}
    for cell in cells:
        name = next((place for place in cell.places if place in frame), "")
        if name:
            found.setdefault(name, []).append(cell)
    placed = {id(cell) for group in found.values() for cell in group}
    for name, ours in frame.items():
        if name not in found:
            lost = [cell for cell in cells if id(cell) not in placed and _resembles(cell, ours)]
            if lost:
                found[name] = lost[-1:]
                placed.add(id(lost[-1]))
                notes.append(f"cell {name} recognised by its content")
    for name, group in found.items():
        locked = not frame[name].metadata.nbgrader.solution
        # Of several copies the last that was worked on counts; earlier ones still run before it.
        worked = [cell for cell in group if cell.source.strip() != frame[name].source.strip()]
        (worked or group)[-1].chosen = name
        if len(group) > 1:
            notes.append(f"cell {name} occurs {len(group)} times, the last one that was changed counts")
        if locked:
            copies = [cell for cell in group if not cell.chosen]
            cells[:] = [cell for cell in cells if not any(cell is other for other in copies)]


def _resembles(cell: Cell, ours: NotebookNode) -> bool:
    """Whether a cell that lost its metadata answers ours: it defines the same function, or has the same text."""
    defines = re.search(r"^def (\w+)\(", ours.source, re.MULTILINE)
    if ours.metadata.nbgrader.solution and ours.cell_type == "code" and defines:
        return cell.kind == "code" and bool(re.search(rf"^def {defines[1]}\(", cell.source, re.MULTILINE))
    heading = ours.source.split("\n", 1)[0].strip()
    return bool(heading) and cell.source.split("\n", 1)[0].strip() == heading


def _answer(name: str, ours: NotebookNode, cell: Cell | None, notes: list[str], room: list[int]) -> NotebookNode:
    result = copy.deepcopy(ours)
    if cell is None:
        notes.append(f"deleted cell {name} put back")
        return result
    if cell.kind != ours.cell_type:
        notes.append(f"cell {name} is a {ours.cell_type} cell again")
    if ours.metadata.nbgrader.solution:
        result.source = cell.source
        return _with_pictures(result, cell, room)
    if cell.source.strip() != ours.source.strip():
        notes.append(f"locked cell {name} restored")
    return result


def _with_pictures(result: NotebookNode, cell: Cell, room: list[int]) -> NotebookNode:
    """Keep the pictures of a Markdown cell, as long as there is room; a proof may need one."""
    if result.cell_type == "markdown" and cell.attachments:
        room[0] -= len(json.dumps(cell.attachments))
        if room[0] > 0:
            result.attachments = {str(name): {kind: data for kind, data in bundle.items() if isinstance(data, str)}
                                  for name, bundle in cell.attachments.items() if isinstance(bundle, dict)}
    return result
