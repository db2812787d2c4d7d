"""Build the site: python tools/build_book.py

Runs jupyter-book with every warning an error, then does what it does not: sets the formulas (prerender.cjs),
which also finds the mistakes in them, and makes the notebooks for download plain (plain_notebook.py).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import execution_cache
import plain_notebook
from filelock import FileLock, Timeout

ROOT = Path(__file__).resolve().parents[1]
SITE = ROOT / "_build" / "html"
MATHJAX = Path(find_spec("sphinx-mathjax-offline").origin).parent / "static" / "mathjax"


def say(line: str) -> None:
    print(f"book: {line}", flush=True)


def stop(line: str) -> None:
    sys.exit(f"book: {line}")


def run_jupyter_book() -> None:
    # Start from an empty folder: otherwise the pages of renamed chapters would stay.
    shutil.rmtree(SITE, ignore_errors=True)
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()",
               "build", ".", "-W", "-n", "--keep-going", "--all"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, text=True, encoding="utf-8",
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    warnings = []
    for line in process.stdout:
        print(line, end="")
        line = re.sub(r"\x1b\[[0-9;]*m", "", line).strip()
        if re.search(r"WARNING:|ERROR:|^[\w.]+Error: ", line):
            warnings.append(line)
    if process.wait() != 0:
        stop("jupyter-book found problems:\n  " + ("\n  ".join(warnings) or "its message stands above"))


def set_formulas() -> None:
    node = shutil.which("node")
    if node is None:
        say("Node.js is missing: formulas are set by MathJax in the browser and were not checked")
    elif subprocess.run([node, "tools/prerender.cjs", SITE, MATHJAX], cwd=ROOT).returncode != 0:
        stop("a formula could not be set; its page and its text stand above")


def main() -> None:
    SITE.parent.mkdir(exist_ok=True)
    try:
        lock = FileLock(SITE.parent / "build.lock").acquire(timeout=0)
    except Timeout:
        stop("another build of the book is running in this folder; wait until it is done")
    with lock:
        if execution_cache.drop_stale():
            say("dualkit or a package version changed, so every notebook runs again")
        run_jupyter_book()
        set_formulas()
        plain_notebook.convert_all(ROOT)
    say(f"done, open {SITE / 'index.html'}")


if __name__ == "__main__":
    main()
