"""A bubblewrap sandbox for one run of Python, proven before it is used and never replaced by anything weaker."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import dualkit
from coursework.grader import runtime, seccomp
from coursework.grader.settings import MIB, Course, Limits, Refusal

HOME = "/student"
INSTALL = "install it with `bash tools/system_packages.sh bwrap`"
NAMESPACES = "bubblewrap needs user namespaces; how to allow them stands in coursework/README.md, Set up"
ENVIRONMENT = {"HOME": HOME, "TMPDIR": HOME, "LANG": "C.UTF-8", "PATH": "/python/bin",
               "LD_LIBRARY_PATH": "/python/lib",
               "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONHASHSEED": "0",
               "MPLBACKEND": "agg", "MPLCONFIGDIR": f"{HOME}/.matplotlib", "IPYTHONDIR": f"{HOME}/.ipython"}


@dataclass(frozen=True)
class Sandbox:
    """What a run sees: these imports of this Python, a scratch folder that is gone afterwards, and nothing else."""

    imports: tuple[str, ...]
    cache: Path
    limits: Limits

    def walls(self, learn: bool = False) -> list[str]:
        """What bubblewrap shall build; with `learn` the byte code cache may be written, for a script of our own."""
        most = self.limits
        # Without /proc a run sees no process, and no mount table that tells where things lie on this machine.
        words = ["--unshare-all", "--unshare-user", "--die-with-parent",
                 "--new-session", "--cap-drop", "ALL", "--uid", "65534", "--gid", "65534", "--hostname", "sandbox",
                 "--clearenv", "--dev", "/dev", "--remount-ro", "/dev",
                 "--size", str(most.scratch), "--tmpfs", HOME, "--symlink", HOME, "/tmp"]
        for here, there in runtime.binds(self.imports):
            words += ["--ro-bind", here, there]
        for there in runtime.hidden():
            words += ["--ro-bind", str(self.cache / "empty"), there]
        words += ["--ro-bind", str(runtime.INSIDE), "/grader"]
        words += ["--bind" if learn else "--ro-bind", str(self.cache / "code"), "/cache"]
        for name, value in ENVIRONMENT.items():
            words += ["--setenv", name, value]
        return [*words, "--remount-ro", "/", "--chdir", HOME]

    def command(self, script: str, walls_fd: int, filter_fd: int, seconds: float) -> list[str]:
        """The command line; the walls come through a file, so that no list of processes shows them."""
        most = self.limits
        limits = [f"--as={most.memory}", f"--cpu={int(seconds) + 5}", f"--fsize={most.scratch}", "--nofile=256",
                  "--core=0"]
        # -I and -S: no environment variable, no .pth file and no site-packages decides what is imported.
        return ["prlimit", *limits, "--", "bwrap", "--args", str(walls_fd), "--seccomp", str(filter_fd), "--",
                runtime.PYTHON, "-I", "-S", "-X", "utf8", "-X", "pycache_prefix=/cache", f"/grader/{script}"]

    def start(self, script: str, job: object, seconds: float, learn: bool = False) -> Run:
        """Start a script of `inside/` with a job on its standard input."""
        contents = (json.dumps(job).encode(), "\0".join(self.walls(learn)).encode(), seccomp.program())
        with contextlib.ExitStack() as stack:
            order, walls, rules = (stack.enter_context(tempfile.TemporaryFile()) for _ in contents)
            for file, content in zip((order, walls, rules), contents, strict=True):
                file.write(content)
                file.seek(0)
            command = self.command(script, walls.fileno(), rules.fileno(), seconds)
            try:
                process = subprocess.Popen(
                    command, stdin=order, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
                    pass_fds=[walls.fileno(), rules.fileno()], env={"PATH": os.environ.get("PATH", os.defpath)})
            except FileNotFoundError as error:
                raise Refusal(f"the sandbox cannot start: {error.filename} is missing; {INSTALL}") from error
        return Run(process, self.limits.stream)


class Run:
    """A running sandbox. What it says is lines of JSON of bounded length, read while a clock runs."""

    def __init__(self, process: subprocess.Popen, most: int) -> None:
        self.process, self.most, self.complaint = process, most, b""
        self._rest: list[bytes] = []

    def messages(self, deadline: Callable[[], float]) -> Iterator[dict]:
        """Yield messages until the run ends, says too much, or `deadline()`, asked again each time, has passed."""
        with selectors.DefaultSelector() as selector:
            for stream in (self.process.stdout, self.process.stderr):
                os.set_blocking(stream.fileno(), False)
                selector.register(stream, selectors.EVENT_READ)
            while selector.get_map() and self.most > 0:
                left = deadline() - time.monotonic()
                if left <= 0:
                    return
                for key, _ in selector.select(min(left, 1.0)):
                    data = os.read(key.fd, MIB)
                    self.most -= len(data)
                    if not data:
                        selector.unregister(key.fileobj)
                    elif key.fileobj is self.process.stderr:
                        self.complaint = (self.complaint + data)[:4000]
                    else:
                        yield from self._lines(data)

    def _lines(self, data: bytes) -> Iterator[dict]:
        if b"\n" not in data:
            self._rest.append(data)  # joined once, however long the line
            return
        *lines, rest = b"".join([*self._rest, data]).split(b"\n")
        self._rest = [rest]
        for line in lines:
            try:
                message = json.loads(line)
            except (ValueError, RecursionError):
                continue  # the run may write what it likes
            if isinstance(message, dict):
                yield message

    def end(self) -> int:
        """Kill what still runs, bubblewrap and with it the whole namespace, and return the exit status."""
        if self.process.poll() is None:
            try:
                self.process.wait(0.5)  # it may just be leaving
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.stdout.close()
        self.process.stderr.close()
        return self.process.wait()


def prepare(course: Course, imports: tuple[str, ...]) -> Sandbox:
    """Return a sandbox for these imports, byte code compiled and walls tried; Refusal if one does not hold."""
    needs = {"bwrap": INSTALL, "prlimit": "it belongs to util-linux", "ldd": "it belongs to the C library"}
    for program, remedy in needs.items():
        if not shutil.which(program):
            raise Refusal(f"nothing is graded without a sandbox, and {program} is missing; {remedy}")
    cache = course.private() / "runtime"
    (cache / "empty").mkdir(parents=True, exist_ok=True)
    (cache / "code").mkdir(exist_ok=True)
    sandbox = Sandbox(imports, cache, course.limits)
    _compile(sandbox)
    prove(sandbox, course)
    return sandbox


def _compile(sandbox: Sandbox) -> None:
    """Fill the cache of byte code, which submissions see read-only, unless it is that of these very packages."""
    sources = [*Path(dualkit.__file__).parent.rglob("*.py"), *runtime.INSIDE.rglob("*.py")]
    state = [sys.version, runtime.binds(sandbox.imports), sorted((str(p), p.stat().st_mtime_ns) for p in sources)]
    mark, now = sandbox.cache / "compiled", hashlib.sha256(repr(state).encode()).hexdigest()
    if not mark.exists() or mark.read_text() != now:
        _finish(sandbox.start("warm.py", {"imports": sandbox.imports}, 120, learn=True), "start")
        mark.write_text(now)


def _finish(run: Run, what: str) -> dict:
    limit = time.monotonic() + 120
    said = list(run.messages(lambda: limit))
    if run.end() != 0 or not said:
        reason = run.complaint.decode(errors="replace").strip() or "it said nothing"
        # Bubblewrap's own words tell what a kernel, a container or AppArmor forbade; they do not tell the remedy.
        remedy = f"\n{NAMESPACES}" if reason.startswith("bwrap: ") else ""
        raise Refusal(f"nothing is graded: the sandbox does not {what}: {reason}{remedy}")
    return said[-1]


def prove(sandbox: Sandbox, course: Course) -> None:
    """Try to break out, as a student's code could; Refusal if anything succeeds."""
    canary = course.private() / "canary"
    canary.write_text(secrets.token_hex())
    with socket.socket(socket.AF_UNIX) as server, subprocess.Popen(["sleep", "600"], env={}) as neighbour:
        server.bind("")  # the kernel finds a name
        server.listen()
        job = {"canary": str(canary), "plug": server.getsockname()[1:].decode(), "neighbour": neighbour.pid,
               "memory": sandbox.limits.memory, "scratch": sandbox.limits.scratch,
               "environment": sorted(ENVIRONMENT),
               "imports": list(sandbox.imports), "self": os.getpid(), "roots": [str(Path.home()), str(course.root)]}
        try:
            said = _finish(sandbox.start("probe.py", job, 60), "work")
            alive = neighbour.poll() is None
        finally:
            neighbour.kill()
    canary.unlink()
    expected = set(PROBES)
    if said.get("open") or set(said.get("closed", ())) != expected or not alive:
        untried = sorted(expected - set(said.get("closed", ())))
        trouble = said.get("open") or untried or ["kill a process outside"]
        raise Refusal("nothing is graded: the sandbox is not tight, code in it could " + "; ".join(trouble))


PROBES = ("read a file outside", "list a folder outside", "write outside", "open a connection",
          "see other processes", "kill a process outside", "start a process", "make a namespace",
          "keep memory outside its account", "take more memory than allowed", "fill the disk",
          "see the environment", "act as root", "import what is not allowed", "raise its limits")
