"""Student versions from the masters, always the same from the same master."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
from nbconvert.exporters.exporter import ResourcesDict
from nbgrader.preprocessors import CheckCellMetadata, ClearOutput, ClearSolutions, ComputeChecksums, LockCells

from coursework.grader.records import write_atomically
from coursework.grader.settings import Course, Refusal

SECRET = re.compile(r"BEGIN (HIDDEN TESTS|MARK SCHEME)")


class ClearMarkedSolutions(ClearSolutions):
    """Clear what stands between BEGIN SOLUTION and END SOLUTION; a cell without marks is a stub or a question."""

    def preprocess_cell(self, cell, resources, cell_index):
        if self.begin_solution_delimeter in cell.source:
            return super().preprocess_cell(cell, resources, cell_index)
        return cell, resources


STEPS = (LockCells, ClearMarkedSolutions, ClearOutput, CheckCellMetadata, ComputeChecksums)


def student_version(master: Path, assignment: str) -> str:
    """Return the notebook that is handed out, as text."""
    notebook = nbformat.read(master, as_version=4)
    for cell in notebook.cells:
        if SECRET.search(cell.source):
            raise Refusal(f"{master.name} holds hidden tests; answers are judged by dualkit.coursework instead")
    resources = ResourcesDict(nbgrader=ResourcesDict(assignment=assignment, notebook=master.stem))
    for step in STEPS:
        notebook, resources = step().preprocess(notebook, resources)
    notebook.metadata = {name: notebook.metadata[name] for name in ("kernelspec", "language_info")
                         if name in notebook.metadata}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.execution_count = None
    nbformat.validate(notebook)
    return nbformat.writes(notebook, version=nbformat.NO_CONVERT) + "\n"


def make(course: Course) -> list[Path]:
    """Write the student version of every master; return those that changed."""
    changed = []
    for name in course.assignments():
        text, path = student_version(course.source(name), name), course.release(name)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            write_atomically(path, text)
            path.chmod(0o644)
            changed.append(path)
    return changed
