"""Prove environment.yml without conda: install its pip section, as written, in a fresh virtual environment.

Run with the Python version that the file names: make check-env
"""

import re
import shlex
import subprocess
import sys
import tempfile

from setup_env import create, pip_install, read, stop

PROOF = ("import cvxpy, dualkit, jupyter_book, jupyterlab, mlxtend, nbgrader, nbval, torch; "
         "print(dualkit.__version__)")


def sections(text):
    """Conda's own lines, and the lines of the pip section."""
    entries = re.findall(r"^( +)- (.+)$", text, re.MULTILINE)
    shallow = min(len(indent) for indent, _ in entries)
    conda = [entry for indent, entry in entries if len(indent) == shallow and entry != "pip:"]
    return conda, [entry for indent, entry in entries if len(indent) > shallow]


def main():
    conda, pip = sections(read("environment.yml"))
    if {entry.split("=")[0] for entry in conda} != {"python", "pip"}:
        stop(f"environment.yml must take nothing but python and pip from conda, found {conda}.")
    version = next(entry for entry in conda if entry.startswith("python=")).removeprefix("python=")
    if version != "{}.{}".format(*sys.version_info):
        stop(f"environment.yml names Python {version}; run this script with that version.")
    with tempfile.TemporaryDirectory() as folder:
        python = create(folder)
        pip_install(python, *(word for entry in pip for word in shlex.split(entry)))
        for command in (["-m", "pip", "check"], ["-c", PROOF]):
            if subprocess.call([python, *command], cwd=folder) != 0:
                stop("the environment of environment.yml is not usable; the message stands above.")


if __name__ == "__main__":
    main()
