"""Write requirements.lock from what pip resolves today in a clean environment: python tools/make_lock.py

It holds the direct requirements of pyproject.toml (core, book, test, lab, course) and all that these need.
"""

import re
import subprocess
import tempfile
import tomllib
from pathlib import Path

from setup_env import ROOT, create, pip_install, read, torch_pin

EXTRAS = ("book", "test", "lab", "course")
HEADER = """\
# Every version of the working set; made by `make lock`, never edited by hand.
# torch stands without a build tag: its CPU and its CUDA build both satisfy the line.
"""


def main():
    project = tomllib.loads(read("pyproject.toml"))["project"]
    direct = project["dependencies"] + [r for e in EXTRAS for r in project["optional-dependencies"][e]]
    with tempfile.TemporaryDirectory() as folder:
        python = create(folder)
        pip_install(python, torch_pin())
        pip_install(python, *direct)
        # setuptools stays: torch requires it.
        freeze = [python, "-m", "pip", "freeze", "--all", "--exclude", "pip"]
        frozen = subprocess.run(freeze, check=True, capture_output=True, text=True).stdout.splitlines()
    # The CUDA build of torch brings packages that the CPU build does without.
    pins = [re.sub(r"\+\w+$", "", line) for line in frozen if not re.match(r"nvidia|triton|cuda", line)]
    lines = sorted(pins, key=str.lower)
    Path(ROOT, "requirements.lock").write_text(HEADER + "\n".join(lines) + "\n", encoding="utf-8")
    print(f"requirements.lock: {len(lines)} packages")


if __name__ == "__main__":
    main()
