"""What of this Python the sandbox shows: interpreter, standard library, allowed distributions and their needs.

Everything is bound read-only at fixed places (/python, /env): no traceback tells how the machine is laid out.
"""

from __future__ import annotations

import functools
import importlib.metadata as metadata
import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import dualkit
from coursework.grader.settings import Refusal

INSIDE = Path(__file__).parent / "inside"
PYTHON = f"/python/bin/python{sys.version_info[0]}.{sys.version_info[1]}"
ALWAYS = ("numpy", "IPython")  # dualkit's import, and the shell that runs the cells
_STDLIB = f"/python/lib/python{sys.version_info[0]}.{sys.version_info[1]}"


def closure(imports: Iterable[str]) -> list[metadata.Distribution]:
    """Return the distributions that provide these imports, and all that they require."""
    owners = metadata.packages_distributions()
    waiting, found = [], {}
    for name in imports:
        if name not in owners:
            raise Refusal(f"the coursework allows {name}, which is not installed here")
        waiting += owners[name]
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name in found:
            continue
        try:
            found[name] = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # not wanted on this machine
        for line in found[name].requires or ():
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)
    return [found[name] for name in sorted(found)]


def _entries(distribution: metadata.Distribution) -> Iterator[tuple[Path, str]]:
    """The files and folders of a distribution that lie directly in site-packages."""
    tops = {file.parts[0] for file in distribution.files or () if file.parts[0] not in ("..", "__pycache__")}
    for top in sorted(tops):
        path = Path(distribution.locate_file(top))
        if path.exists() and path.suffix != ".pth":
            yield path, f"/env/{top}"


def _libraries(places: Iterable[Path], inside: list[Path]) -> Iterator[tuple[Path, str]]:
    """The shared libraries of the system that compiled modules in these places need, and the loader itself."""
    modules = [os.path.realpath(sys.executable)]
    for place in places:
        modules += map(str, place.rglob("*.so*")) if place.is_dir() else [str(place)] * (".so" in place.name)
    said = subprocess.run(["ldd", *modules], capture_output=True, text=True).stdout
    for name, path in sorted(set(re.findall(r"^\s+(\S+) => (/\S+)", said, re.MULTILINE))):
        if not any(Path(path).resolve().is_relative_to(folder) for folder in inside):
            yield Path(path), f"/python/lib/{name}"
    for loader in sorted(set(re.findall(r"^\s+(/\S+) \(", said, re.MULTILINE))):
        yield Path(loader), loader


@functools.cache
def binds(imports: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Return what is bound where in the sandbox, as (path here, path there)."""
    stdlib = Path(sysconfig.get_path("stdlib")).resolve()
    found = [(Path(os.path.realpath(sys.executable)), PYTHON), (stdlib, _STDLIB)]
    wanted = closure({*ALWAYS, *imports} - {"dualkit"})
    entries = [entry for distribution in wanted for entry in _entries(distribution)]
    entries.append((Path(dualkit.__file__).parent, "/env/dualkit"))
    entries.append((INSIDE / "coursework", "/env/dualkit/coursework"))
    compiled = [stdlib / "lib-dynload", *(path for path, _ in entries)]
    found += [*entries, *_libraries(compiled, [path.resolve() for path, _ in entries])]
    return tuple({there: (str(here.resolve()), there) for here, there in found}.values())


def hidden() -> list[str]:
    """Folders below what is bound that hold other packages; they are shown empty."""
    stdlib = Path(sysconfig.get_path("stdlib"))
    return [f"{_STDLIB}/{name}" for name in ("site-packages", "dist-packages") if (stdlib / name).is_dir()]
