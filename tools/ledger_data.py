"""The ledger's records as plain data, computed once for each state of the code.

Running every check takes up to a minute, so the result is kept in _build/ledger.json under a hash of all that
it depends on: the helper package, the checks and the versions of the packages.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

from filelock import FileLock

ROOT = Path(__file__).resolve().parents[1]
# A process of its own keeps torch and cvxpy out of the Sphinx process.
_RUN = """
import json, sys, ledger
from dataclasses import asdict
records = [asdict(r) | {"passed": r.passed} for r in ledger.records()]
json.dump(records, open(sys.argv[1], "w", encoding="utf-8"))
"""


def key(root: Path = ROOT, folders: tuple[str, ...] = ("dualkit", "ledger")) -> str:
    """Hash of the Python files in the folders and of the locked versions."""
    # Not below them: no chapter and no check imports dualkit/coursework.
    files = sorted(f for folder in folders for f in (root / folder).glob("*.py"))
    digest = hashlib.sha256()
    for file in [*files, root / "requirements.lock"]:
        digest.update(f"{file.relative_to(root).as_posix()}\n".encode())
        digest.update(file.read_bytes() if file.exists() else b"missing")
    return digest.hexdigest()


def records(root: Path = ROOT) -> list[dict]:
    """All records as dictionaries; run the checks only when their code or the versions changed."""
    store = root / "_build" / "ledger.json"
    store.parent.mkdir(exist_ok=True)
    now = key(root)
    with FileLock(store.with_suffix(".lock")):  # two test workers may get here at once: the second one waits
        if store.exists():
            kept = json.loads(store.read_text(encoding="utf-8"))
            if kept["key"] == now:
                return kept["records"]
        fresh = store.with_suffix(".new")
        subprocess.run([sys.executable, "-c", _RUN, str(fresh)], cwd=root, check=True,
                       env=os.environ | {"OMP_NUM_THREADS": "1"})
        found = json.loads(fresh.read_text(encoding="utf-8"))
        fresh.write_text(json.dumps({"key": now, "records": found}, indent=1), encoding="utf-8")
        fresh.replace(store)  # in one step: an interrupted run leaves no half file
    return found


def number(x: float) -> str:
    """A residual or a tolerance as the book prints it."""
    if x == 0 or 0.01 <= x < 1000:
        return f"{x:.2g}" if x < 100 else f"{x:.0f}"
    return f"{x:.1e}".replace(".0e", "e").replace("e-0", "e-").replace("e+0", "e")
