"""The set-up of the project: versions pinned once, commands documented, nothing tied to one machine."""

import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import check_env
import nbformat
import pytest
import setup_env
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

import dualkit

ROOT = Path(__file__).resolve().parents[1]


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


PROJECT = tomllib.loads(read("pyproject.toml"))["project"]
LOCK = [line for line in read("requirements.lock").splitlines() if not line.startswith("#")]
PINS = {canonicalize_name(name): version for name, version in (line.split("==") for line in LOCK)}
LOCKED_EXTRAS = ("book", "test", "lab", "course")


def requirements(*extras):
    """The direct requirements of the package and of the extras named."""
    lines = PROJECT["dependencies"] + [r for e in extras for r in PROJECT["optional-dependencies"][e]]
    return [Requirement(line) for line in lines]


def files():
    """The files of the project: all that git knows or would take."""
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        pytest.skip("needs a git checkout, to tell the project's files from others")
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    return [path for path in map(ROOT.joinpath, names) if path.is_file()]


def run_make(*arguments):
    if not shutil.which("make"):
        pytest.skip("needs make")
    # Without these a make that runs the tests would pass its own options on.
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(["make", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True)


# --- versions -------------------------------------------------------------------------------------


def test_lock_pins_every_direct_requirement():
    for requirement in requirements(*LOCKED_EXTRAS):
        assert requirement.specifier.contains(PINS[canonicalize_name(requirement.name)]), requirement


def test_lock_installs_on_any_machine():
    for line in LOCK:
        # No build tag (one machine's torch), no address, no marker.
        assert re.fullmatch(r"[\w.-]+==[\w.]+", line), line
        assert not line.startswith(("nvidia", "triton")), line
    assert len(PINS) == len(LOCK)


def test_tests_run_with_the_locked_versions():
    installed = {name: Version(importlib.metadata.version(name)).public for name in PINS}
    assert installed == {name: Version(pin).public for name, pin in PINS.items()}


def test_environment_file_takes_its_versions_from_the_lock():
    text = read("environment.yml")
    conda, pip = check_env.sections(text)
    *own, section = yaml.safe_load(text)["dependencies"]
    assert (conda, pip) == (own, section["pip"])
    python, name = conda
    assert name == "pip"
    assert SpecifierSet(PROJECT["requires-python"]).contains(python.removeprefix("python="))
    assert pip == ["-r requirements.lock", "-e ."]


def test_torch_is_pinned_once_for_all():
    assert setup_env.torch_pin() == f"torch=={PINS['torch']}"
    assert setup_env.torch_pin() in read("README.md")


def test_version_is_the_same_everywhere():
    assert importlib.metadata.version("dualkit") == dualkit.__version__
    assert yaml.safe_load(read("CITATION.cff"))["version"] == dualkit.__version__
    changes = re.findall(r"^## \[(.+?)\]", read("CHANGELOG.md"), re.MULTILINE)
    assert changes[0] == dualkit.__version__


# --- imports --------------------------------------------------------------------------------------


def imported(path):
    """Top-level names of the packages that a Python file or a notebook imports."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        cells = [cell.source for cell in nbformat.reads(text, 4).cells if cell.cell_type == "code"]
        text = "\n".join(re.sub(r"^[%!].*", "", cell, flags=re.MULTILINE) for cell in cells)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.split(".")[0]


@pytest.mark.parametrize(("folder", "extras"), [("dualkit", ()), ("ledger", ()), ("", LOCKED_EXTRAS)])
def test_every_imported_package_is_a_declared_requirement(folder, extras):
    declared = {canonicalize_name(requirement.name) for requirement in requirements(*extras)}
    distributions = importlib.metadata.packages_distributions()
    sources = [path for path in files() if path.suffix in (".py", ".ipynb")]
    own = {"coursework", "dualkit", "ledger"} | {path.stem for path in sources}
    undeclared = set()
    for path in sources:
        for name in set(imported(path)) - own - sys.stdlib_module_names:
            owners = {canonicalize_name(owner) for owner in distributions.get(name, [name])}
            if path.is_relative_to(ROOT / folder) and not owners & declared:
                undeclared.add((path.relative_to(ROOT).as_posix(), name))
    assert undeclared == set()


def test_importing_dualkit_loads_no_slow_package(tmp_path):
    slow = {"torch", "cvxpy", "scipy", "matplotlib", "joblib"}
    code = "import sys, dualkit; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", code], cwd=tmp_path, text=True).split()
    assert slow & set(loaded) == set()


def test_the_package_can_be_read_in_an_evening():
    """No module passes 300 lines, all together 4,507, of which 2,499 are code."""
    lines, code = {}, 0
    for path in (ROOT / "dualkit").glob("*.py"):
        text = path.read_text(encoding="utf-8")
        lines[path.name] = len(text.splitlines())
        documented = [node for node in ast.walk(ast.parse(text))
                      if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node)]
        prose = {k for node in documented for k in range(node.body[0].lineno, node.body[0].end_lineno + 1)}
        code += sum(bool(line.strip()) and line.lstrip()[0] != "#" and k not in prose
                    for k, line in enumerate(text.splitlines(), 1))
    assert max(lines.values()) <= 300
    assert (sum(lines.values()) <= 4507, code <= 2499) == (True, True), (sum(lines.values()), code)


# --- nothing tied to one machine ------------------------------------------------------------------


# The brackets keep the patterns from finding themselves.
@pytest.mark.parametrize("pattern", [
    pytest.param(r"[p]ypi\.|[p]ythonhosted|[n]pmjs|[a]naconda\.org|[d]ownload\.pytorch", id="package host"),
    pytest.param(r"[-]-(extra-)?index-url|[-]-find-links|PIP[_](EXTRA_)?(INDEX|FIND)", id="package index"),
    pytest.param(r"(^|[\s\"'`=(:])/(home|root|work|tmp|opt|mnt|Users)/", id="absolute path"),
])
def test_no_file_holds(pattern):
    found = []
    for path in files():
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue
        place = path.relative_to(ROOT).as_posix()
        found += [f"{place}:{number}" for number, line in enumerate(lines, 1) if re.search(pattern, line)]
    assert found == []


# --- commands and their documentation -------------------------------------------------------------


def targets():
    return set(re.search(r"^\.PHONY: (.+)$", read("Makefile"), re.MULTILINE)[1].split())


def test_make_without_a_target_lists_every_target():
    done = run_make()
    assert {line.split()[1] for line in done.stdout.splitlines()} == targets()
    assert all(len(line.split()) > 3 for line in done.stdout.splitlines()), "each with a description"


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", ".ci/run"])
def test_documented_make_targets_exist(name):
    text = read(name)
    named = set(re.findall(r"(?:^\s*|`)make ([a-z][a-z-]*)", text, re.MULTILINE))
    assert named
    assert named <= targets()


def test_readme_tree_is_the_real_tree():
    tree = read("README.md").split("## What is where")[1].split("\n## ")[0]
    named = re.findall(r"^    (\S+)", tree, re.MULTILINE)
    assert all((ROOT / name).exists() for name in named), named
    folders = {path.relative_to(ROOT).parts[0] for path in files() if path.parent != ROOT}
    assert {f"{name}/" for name in folders if name[0] != "."} == {name for name in named if name[-1] == "/"}


def test_readme_example_runs_and_certifies():
    example, = re.findall(r"```python\n(.+?)```", read("README.md"), re.DOTALL)
    names = {"print": lambda *shown: None}
    exec(example, names)
    certificate = dualkit.certify(names["solution"], names["X"], names["Y"], beta=0.5)
    assert 0 <= certificate.gap <= 1e-8 * certificate.primal


# --- plain words instead of tracebacks ------------------------------------------------------------


def test_old_python_is_told_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "version_info", (3, 9, 2, "final", 0))
    with pytest.raises(SystemExit, match=r"^setup: Python 3\.11 or newer is needed, this is 3\.9; install"):
        setup_env.create(str(tmp_path / "env"))
    assert not (tmp_path / "env").exists()


def test_setup_script_parses_under_old_python():
    ast.parse(Path(setup_env.__file__).read_text(encoding="utf-8"), feature_version=(3, 7))


def test_minimum_python_is_the_same_everywhere():
    minimum = "{}.{}".format(*setup_env.MINIMUM)
    assert PROJECT["requires-python"] == f">={minimum}"
    assert "sys.version_info < ({}, {})".format(*setup_env.MINIMUM) in read("Makefile")
    assert f"Python {minimum} or newer" in read("README.md")


def test_make_without_python_says_so_in_one_line(tmp_path):
    done = run_make("lint", "PYTHON=no-such-python", f"VENV={tmp_path / 'env'}")
    said = [line for line in done.stderr.splitlines() if "***" not in line]
    assert done.returncode != 0
    assert len(said) == 1
    assert said[0].startswith("make: Python 3.11 or newer is needed")


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX system")
def test_missing_system_packages_are_named_where_apt_is_not(tmp_path):
    for tool in ("bash", "id"):
        (tmp_path / tool).symlink_to(shutil.which(tool))
    script = [str(tmp_path / "bash"), str(ROOT / "tools" / "system_packages.sh")]
    present = subprocess.run([*script, "id"], env={"PATH": str(tmp_path)}, capture_output=True, text=True)
    assert (present.returncode, present.stdout, present.stderr) == (0, "", "")
    missing = subprocess.run([*script, "id", "chromium", "bwrap"], env={"PATH": str(tmp_path)},
                             capture_output=True, text=True)
    assert missing.returncode == 1
    assert missing.stderr.splitlines() == [
        "system packages: please install chromium bubblewrap with this system's package manager."]
