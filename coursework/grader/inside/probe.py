"""Runs in the sandbox before grading: tries what a hostile submission could try, and says what was possible."""

import ctypes
import glob
import importlib.util
import json
import os
import resource
import signal
import socket
import struct
import sys

sys.path.append("/env")
job = json.load(sys.stdin)
libc = ctypes.CDLL(None, use_errno=True)
tried, opened = [], []


def probe(name):
    """Run an attempt at once; it returns whether it got through."""
    def run(attempt):
        tried.append(name)
        try:
            through = attempt()
        except (OSError, MemoryError, ValueError):
            through = False
        if through:
            opened.append(name)
    return run


def possible(action, *arguments):
    try:
        action(*arguments)
    except (OSError, MemoryError, ValueError):
        return False
    return True


@probe("read a file outside")
def _():
    places = [job["canary"], f"/proc/{job['self']}/root{job['canary']}", "/proc/1/root" + job["canary"],
              "/etc/passwd", "/etc/hostname", "/grader/../canary"]
    return any(possible(open, place) for place in places)


@probe("list a folder outside")
def _():
    known = {"cache", "dev", "env", "grader", "python", "student", "tmp", "lib", "lib64"}
    return set(os.listdir("/")) - known or any(os.path.exists(place) for place in job["roots"] if place != "/")


@probe("write outside")
def _():
    folders = [f"/{name}" for name in os.listdir("/") if name not in ("student", "tmp")]
    folders += ["/", "/dev/shm", "/env/dualkit", "/env/numpy", "/python/lib", os.path.dirname(job["canary"])]
    return any([possible(lambda f=f: open(f"{f}/probe", "w")) for f in folders] +
               [possible(os.remove, "/grader/runner.py"), possible(open, "/grader/runner.py", "a")])


@probe("open a connection")
def _():
    def join():  # a name without a file, which belongs to the network namespace
        with socket.socket(socket.AF_UNIX) as plug:
            plug.connect("\0" + job["plug"])
    # Internet, crypto, the host of a virtual machine, raw, TIPC.
    reaching = [(2, 1), (2, 2), (10, 1), (38, 5), (40, 1), (40, 2), (17, 3), (30, 5)]
    return [name for _, name in socket.if_nameindex()] != ["lo"] or possible(join) or \
        any(possible(socket.socket, *kind) for kind in reaching)


@probe("see other processes")
def _():
    others = set(range(3, 2000)) - {os.getpid()}
    handle = libc.syscall(434, 1, 0)  # pidfd_open
    return os.path.exists("/proc/self") or handle >= 0 or any(possible(os.kill, pid, 0) for pid in others)


@probe("kill a process outside")
def _():
    return any([possible(os.kill, job["neighbour"], signal.SIGKILL) and job["neighbour"] > 2,
                possible(os.kill, job["self"], 0) and job["self"] > 2])


@probe("start a process")
def _():
    try:
        child = os.fork()
    except OSError:
        return False
    if child == 0:
        os._exit(0)
    return True


@probe("make a namespace")
def _():
    return any(libc.unshare(flag) == 0 for flag in (0x10000000, 0x00020000, 0x40000000))  # user, mount, network


@probe("keep memory outside its account")
def _():
    rights = struct.pack("<IHHIHHIHHI", 2, 1, 7, 0, 4, 7, 0, 0x20, 7, 0)  # the kernel's form, owner, group, others
    page, pipe = ctypes.create_string_buffer(16), os.pipe()
    given = (ctypes.c_size_t * 2)(ctypes.addressof(page), 16)
    return possible(os.memfd_create, "probe") or libc.shmget(0, 4096, 0o1600) >= 0 or \
        possible(os.setxattr, os.environ["HOME"], "system.posix_acl_access", rights) or \
        libc.vmsplice(pipe[1], given, 1, 0) >= 0


@probe("take more memory than allowed")
def _():
    return possible(bytearray, job["memory"] + 1)


@probe("fill the disk")
def _():
    block, names = bytes(1 << 20), []
    try:
        for number in range(4):
            names.append(f"probe{number}")
            with open(names[-1], "wb") as file:
                for _ in range(job["scratch"] // 3 >> 20):
                    file.write(block)
        return True
    finally:
        for name in names:
            os.remove(name)


@probe("see the environment")
def _():
    return set(os.environ) - {*job["environment"], "PWD", "LC_CTYPE"}


@probe("act as root")
def _():
    head, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()  # version of capget, this process
    unknown = libc.capget(head, sets) != 0
    return os.getuid() == 0 or unknown or any(sets) or libc.prctl(39, 0, 0, 0, 0) != 1  # PR_GET_NO_NEW_PRIVS


@probe("import what is not allowed")
def _():
    shown = glob.glob("/env/dualkit/coursework/*.py") + glob.glob("/cache/env/dualkit/coursework/*.pyc")
    checks = {os.path.basename(path).split(".")[0] for path in shown} - {"__init__"}
    others = {"cvxpy", "torch", "pip", "nbgrader", "coursework"} - set(job["imports"])
    return checks or any(map(importlib.util.find_spec, others))


@probe("raise its limits")
def _():
    kinds = (resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE)
    endless = resource.RLIM_INFINITY
    return any(resource.getrlimit(kind)[1] == endless or possible(resource.setrlimit, kind, (endless, endless))
               for kind in kinds)


print(json.dumps({"open": opened, "closed": [name for name in tried if name not in opened]}))
