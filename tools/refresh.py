"""Run notebooks and store them as the book keeps them: python tools/refresh.py [--check] [NOTEBOOK ...]

A stored notebook holds its text outputs, so that tests have something to compare and a change of a number
shows in a diff, but no images, which would bury that diff.  Execution counts run from 1 to n: nbval silently
skips a cell without one.  --check runs nothing; it fails when a notebook is not as this script writes it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).resolve().parents[1]
METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"file_extension": ".py", "mimetype": "text/x-python", "name": "python"},
}


def is_image(mime: str) -> bool:
    """Images, also those that myst-nb's glue stores under a prefix of its own."""
    return mime.removeprefix("application/papermill.record/").startswith("image/")


def only(mapping: dict, keep: Callable[[str], bool]) -> nbformat.NotebookNode:
    return nbformat.from_dict({key: value for key, value in mapping.items() if keep(key)})


def clean(nb: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Remove in place what differs from run to run and from machine to machine; returns the notebook."""
    nb.metadata = nbformat.from_dict(METADATA)
    count = 0
    for cell in nb.cells:
        cell.metadata = only(cell.metadata, lambda key: key in ("tags", "mystnb"))
        if cell.cell_type != "code":
            continue
        count += 1
        cell.execution_count = count
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = count
            if "data" in output:
                output.data = only(output.data, lambda mime: not is_image(mime))
                output.metadata = only(output.metadata, lambda key: key == "scrapbook")
    return nb


def text(nb: nbformat.NotebookNode) -> str:
    return nbformat.writes(nb).rstrip("\n") + "\n"


def problems(path: Path) -> list[str]:
    """What is wrong with a stored notebook, one line each."""
    stored = path.read_text(encoding="utf-8")
    nb = nbformat.reads(stored, 4)
    code = [c for c in nb.cells if c.cell_type == "code"]
    found = [f"code cell {i} stores {o.get('ename') or 'text on stderr'}: mend the cell"
             for i, c in enumerate(code, 1) for o in c.outputs
             if o.output_type == "error" or o.get("name") == "stderr"]
    if code and not any(c.outputs for c in code):
        found.append("no cell has an output: the notebook was stripped")
    if text(clean(nb)) != stored:
        found.append("not stored as tools/refresh.py writes it (images, execution counts or metadata)")
    return [f"{path.name}: {line}; run `make refresh`" for line in found]


def refresh(path: Path) -> None:
    nb = nbformat.read(path, 4)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # one thread makes sums repeat to the last bit
    folder = {"metadata": {"path": str(path.parent)}}
    NotebookClient(nb, timeout=300, kernel_name="python3", resources=folder).execute()
    path.write_text(text(clean(nb)), encoding="utf-8")
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


def main(arguments: list[str]) -> int:
    paths = [Path(a) for a in arguments if a != "--check"] or sorted((ROOT / "chapters").glob("*.ipynb"))
    if "--check" in arguments:
        lines = [line for path in paths for line in problems(path)]
        print("\n".join(lines) or f"{len(paths)} notebooks are stored as they should be")
        return bool(lines)
    for path in paths:
        try:
            refresh(path)
        except CellExecutionError as error:
            print(f"{path.name}: a cell raises, the file is left as it was\n{error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
