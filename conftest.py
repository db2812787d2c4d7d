"""Let the tests of the notebooks serve the build of the book: every chapter is executed once, not twice.

`pytest --nbval chapters` runs each notebook and compares its text outputs with the stored ones.  The outputs
of that run, images included, go to jupyter-book's execution cache, where the build finds them.
"""

import copy
import os

import pytest

# One thread makes sums repeat to the last bit; the notebooks' kernels inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

SVG = ("image/svg+xml", "application/papermill.record/image/svg+xml")


def pytest_configure(config):
    """nbval leaves out PNG and JPEG when it compares; leave out SVG as well, the book's format."""
    if not config.pluginmanager.hasplugin("nbval"):
        return
    from nbval.plugin import IPyNbFile
    original = IPyNbFile.__init__

    def with_svg(self, *args, **kwargs):
        original(self, *args, **kwargs)
        self.skip_compare += SVG

    IPyNbFile.__init__ = with_svg


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item, nextitem):
    if type(item).__module__ != "nbval.plugin":
        return
    file = item.parent
    done = file.__dict__.setdefault("cells_done", [])
    done.append(item)
    if nextitem is None or nextitem.parent is not file:
        notebook = executed(file.nb, done)
        if notebook is not None:
            import execution_cache  # from tools/, which pyproject.toml puts on the path
            execution_cache.store(notebook, file.path)


def executed(notebook, cells):
    """The notebook with the outputs of this run, or None when a cell was left out or raised."""
    import nbformat
    notebook = copy.deepcopy(notebook)
    outputs = {cell.cell_num: cell.test_outputs for cell in cells}
    code = [c for c in notebook.cells if c.cell_type == "code"]
    if len(outputs) != len(code) or any(o is None for o in outputs.values()):
        return None
    for number, cell in enumerate(code):
        cell.execution_count = number + 1
        cell.outputs = [nbformat.from_dict(dict(o)) for o in outputs[number]]
        for output in cell.outputs:
            if output.output_type == "error" and "raises-exception" not in cell.metadata.get("tags", []):
                return None
            if output.output_type == "execute_result":
                output.execution_count = number + 1
            if output.output_type in ("display_data", "execute_result"):
                output.setdefault("metadata", {})
    return notebook

