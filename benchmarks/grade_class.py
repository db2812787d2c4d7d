"""Grade a class of 200 with a few hostile and looping submissions, killed half-way and resumed; measured only.

    .venv/bin/python benchmarks/grade_class.py [students]
"""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import course_class  # noqa: E402


def make_class(folder: Path, state: Path, size: int) -> None:
    """Hostile and broken submissions as in the tests; all other students answer two questions of Coursework 1."""
    odd = course_class.broken() | course_class.hostile(state, 9, "student000")
    names = ("loop", "loop-for-ever", "memory", "exit", "flood", "kills", "daemon", "fills", "reads", "writes",
             "forges", "bomb", "zero-bytes", "syntax-error")
    some = {name: odd[name] for name in names}
    for copy in range(3):
        course_class.lay_out(folder, {f"{name}{copy}": files for name, files in some.items()})
    for number in range(size - 3 * len(some)):
        name = f"student{number:03d}"
        course_class.lay_out(folder, {name: {"hw1.ipynb": course_class.text(course_class.good(name))}})


def start(state: Path, folder: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "coursework.grader", "--state", str(state), "grade", str(folder), "--jobs=2"]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def records(state: Path) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in (state / "records" / "hw1").glob("*.json")}


def main(size: int) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder, state = Path(scratch, "submissions"), Path(scratch, "state")
        make_class(folder, state, size)
        began = time.monotonic()
        print(f"{size} submissions, 2 processes; load {os.getloadavg()[0]:.1f}", flush=True)
        first = start(state, folder)
        while first.poll() is None and len(records(state)) < size // 2:
            time.sleep(0.2)
        first.send_signal(signal.SIGKILL)
        first.wait()
        time.sleep(1)
        kept = records(state)
        print(f"killed after {time.monotonic() - began:.0f} s with {len(kept)} records", flush=True)
        said = start(state, folder).communicate()[0]
        took, after = time.monotonic() - began, records(state)
        rows = list(csv.DictReader((state / "grades.csv").open(newline="")))
        seconds = sorted(json.loads(data).get("seconds", 0) for data in after.values())
        good = [float(row["score"]) for row in rows if row["student"].startswith("student")]
        print(said.splitlines()[0])
        print(f"all in {took / 60:.1f} minutes; load {os.getloadavg()[0]:.1f}; "
              f"a submission: median {seconds[len(seconds) // 2]:.1f} s, longest {seconds[-1]:.1f} s")
        changed = sum(after.get(name) != data for name, data in kept.items())
        print(f"records lost or changed by the kill: {changed}; "
              f"rows {len(rows)}, students {len({row['student'] for row in rows})}")
        print(f"good students with full points: {sum(score == course_class.FULL for score in good)} of {len(good)}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
