"""Make the virtual environment of the book: python tools/setup_env.py [folder]

torch comes first and alone: it is pinned, and with it in place no later step can pull another build of it.
Only the standard library is used, and the file parses under any Python 3: an old one gets a plain sentence.
"""

import os
import re
import subprocess
import sys

MINIMUM = (3, 11)
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def stop(message):
    sys.exit("setup: " + message)


def read(name):
    with open(os.path.join(ROOT, name), encoding="utf-8") as file:
        return file.read()


def torch_pin():
    """The torch requirement of pyproject.toml, its single source."""
    return re.search(r'"(torch==[^"]+)"', read("pyproject.toml")).group(1)


def interpreter(folder):
    return os.path.join(folder, *(("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")))


def works(python):
    """False once the Python that the environment was made from is gone, or the folder was moved."""
    try:
        code = "import pip, sys; sys.exit(sys.version_info[:2] < {!r})".format(MINIMUM)
        return subprocess.call([python, "-c", code], stderr=subprocess.DEVNULL) == 0
    except OSError:
        return False


def create(folder):
    """A virtual environment in `folder` (kept if it works); returns its interpreter."""
    if sys.version_info[:2] < MINIMUM:
        stop("Python {}.{} or newer is needed, this is {}.{}; install a newer one and run again.".format(
            *(MINIMUM + sys.version_info[:2])))
    python = interpreter(folder)
    if works(python):
        return python
    try:
        import ensurepip  # noqa: F401  (Debian splits it off)
        import venv
    except ImportError:
        stop("this Python lacks venv; install it (Debian, Ubuntu: the package python3-venv) and run again.")
    print("setup: creating the virtual environment {}".format(folder), flush=True)
    venv.create(folder, clear=True, with_pip=True)
    return python


def pip_install(python, *arguments):
    # Without byte code: compiling all of it takes as long as installing it, and most of it is never imported.
    options = ["--quiet", "--disable-pip-version-check", "--no-compile"]
    command = [python, "-m", "pip", "install"] + options + list(arguments)
    print("setup: pip install " + " ".join(arguments), flush=True)
    if subprocess.call(command, cwd=ROOT) != 0:
        stop("pip install {} failed; its own message stands above.".format(" ".join(arguments)))


def main(folder):
    python = create(folder)
    pip_install(python, torch_pin())
    pip_install(python, "-r", "requirements.lock")
    pip_install(python, "--no-deps", "--no-build-isolation", "-e", ".")


if __name__ == "__main__":
    main(os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else os.path.join(ROOT, ".venv")))
