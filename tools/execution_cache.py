"""jupyter-book's cache of executed notebooks: the tests fill it and the build reads it."""

from __future__ import annotations

import shutil
from pathlib import Path

import ledger_data
from filelock import FileLock
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[1]


def drop_stale(root: Path = ROOT) -> bool:
    """Remove the cache when the helper package or a version changed, of which jupyter-book knows nothing."""
    build = root / "_build"
    mark, cache = build / "executed-with", build / ".jupyter_cache"
    now = ledger_data.key(root, ("dualkit",))
    stale = cache.exists() and not (mark.exists() and mark.read_text(encoding="utf-8") == now)
    if stale:
        shutil.rmtree(cache)
    build.mkdir(exist_ok=True)
    mark.write_text(now, encoding="utf-8")
    return stale


def store(notebook: NotebookNode, path: Path, root: Path = ROOT) -> None:
    """Keep an executed notebook; test workers may do so at the same time."""
    (root / "_build").mkdir(exist_ok=True)
    with FileLock(root / "_build" / "jupyter_cache.lock"):
        drop_stale(root)
        bundle = CacheBundleIn(notebook, str(path), data={"execution_seconds": 0.0})
        cache = get_cache(str(root / "_build" / ".jupyter_cache"))
        cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)


def executed(notebook: NotebookNode, root: Path = ROOT) -> NotebookNode:
    """The notebook with the outputs of its last run, images included; KeyError when it was never run."""
    return get_cache(str(root / "_build" / ".jupyter_cache")).merge_match_into_notebook(notebook)[1]
