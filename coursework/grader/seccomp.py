"""A filter of system calls for the sandbox: no new process, no namespace, no memory outside the accounted one, and
no sockets that reach beyond the process.

Without fork there are no daemons and no fork bombs, and the limit on a process's address space limits the
submission. Denied are calls by which the kernel would keep memory that no limit counts: segments and queues, pages
given to a pipe, access rights (64 KiB for each file), buffers of TCP, rulesets. Calls newer than this list do not
exist. execve stays: bubblewrap starts Python with it under this filter, and a program put in Python's place keeps
its process, its limits and the filter. Bubblewrap takes it as a compiled BPF program (`--seccomp`).
"""

from __future__ import annotations

import errno
import os
import struct

from coursework.grader.settings import Refusal

# Numbers of the system calls, from the kernel's tables; the first are the same everywhere.
_COMMON = {"memfd_secret": 447, "io_uring_setup": 425, "open_tree": 428, "move_mount": 429, "fsopen": 430,
           "fsmount": 432, "fspick": 433, "mount_setattr": 442, "open_tree_attr": 467, "pidfd_open": 434,
           "pidfd_getfd": 438, "landlock_create_ruleset": 444, "setxattrat": 463}
_X86 = {"fork": 57, "vfork": 58, "ptrace": 101, "shmget": 29, "msgget": 68, "semget": 64, "mq_open": 240,
        "setns": 308, "unshare": 272, "mount": 165, "umount2": 166, "pivot_root": 155, "chroot": 161,
        "memfd_create": 319, "bpf": 321,
        "perf_event_open": 298, "userfaultfd": 323, "add_key": 248, "request_key": 249, "keyctl": 250,
        "process_vm_readv": 310, "process_vm_writev": 311, "vmsplice": 278, "setxattr": 188, "lsetxattr": 189,
        "fsetxattr": 190, "syslog": 103}
_ARM = {"ptrace": 117, "shmget": 194, "msgget": 186, "semget": 190, "mq_open": 180, "setns": 268, "unshare": 97,
        "mount": 40, "umount2": 39, "pivot_root": 41, "chroot": 51, "memfd_create": 279, "bpf": 280,
        "perf_event_open": 241, "userfaultfd": 282, "add_key": 217, "request_key": 218, "keyctl": 219,
        "process_vm_readv": 270, "process_vm_writev": 271, "vmsplice": 75, "setxattr": 5, "lsetxattr": 6,
        "fsetxattr": 7, "syslog": 116}
_MACHINES = {"x86_64": (0xC000003E, 56, 41, _X86), "aarch64": (0xC00000B7, 220, 198, _ARM)}
_CLONE3 = 435
_UNKNOWN = 470  # the first number that nobody has looked at
_CLONE_THREAD = 0x10000
_FAMILIES = (1, 16)  # local, netlink; the network namespace confines both

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL = 0x7FFF0000, 0x80000000
_NUMBER, _ARCH, _FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data, little endian


def program(machine: str = "") -> bytes:
    """Return the filter for this machine, or for one that uname would call so."""
    machine = machine or os.uname().machine
    if machine not in _MACHINES:
        raise Refusal(f"the sandbox has no system call filter for {machine}; grade on x86_64 or aarch64")
    arch, clone, plug, denied = _MACHINES[machine]

    def fail(code: int) -> tuple[int, int, int, int]:
        return _RETURN, 0, 0, 0x00050000 | code

    lines = [(_LOAD, 0, 0, _ARCH), (_EQUAL, 1, 0, arch), (_RETURN, 0, 0, _KILL), (_LOAD, 0, 0, _NUMBER)]
    lines += [(_AT_LEAST, 0, 1, _UNKNOWN), fail(errno.ENOSYS)]  # among them the x32 names of the same calls
    for number in sorted({**_COMMON, **denied}.values()):
        lines += [(_EQUAL, 0, 1, number), fail(errno.EPERM)]
    lines += [(_EQUAL, 0, len(_FAMILIES) + 3, plug), (_LOAD, 0, 0, _FIRST_ARGUMENT)]
    lines += [(_EQUAL, len(_FAMILIES) - k, 0, family) for k, family in enumerate(_FAMILIES)]
    lines += [fail(errno.EAFNOSUPPORT), (_RETURN, 0, 0, _ALLOW)]
    # Its flags cannot be inspected; told that it does not exist, the C library takes clone.
    lines += [(_EQUAL, 0, 1, _CLONE3), fail(errno.ENOSYS)]
    lines += [(_EQUAL, 0, 3, clone), (_LOAD, 0, 0, _FIRST_ARGUMENT), (_ANY_BIT, 1, 0, _CLONE_THREAD),
              fail(errno.EPERM), (_RETURN, 0, 0, _ALLOW)]
    return b"".join(struct.pack("=HBBI", *line) for line in lines)
