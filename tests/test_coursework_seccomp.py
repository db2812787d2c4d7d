"""What the sandbox's filter of system calls says on each machine, interpreted as the kernel would."""

from __future__ import annotations

import errno
import struct

import pytest

from coursework.grader import seccomp

ALLOW, KILL, FAIL = 0x7FFF0000, 0x80000000, 0x00050000
ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
THREAD = 0x10000
# name: numbers on x86_64 and aarch64, from libseccomp's tables; None where a machine has no such call.
CLONE, CLONE3, SOCKET = (56, 220), (435, 435), (41, 198)
ORDINARY = {
    "read": (0, 63), "write": (1, 64), "mmap": (9, 222), "mprotect": (10, 226), "brk": (12, 214),
    "futex": (202, 98), "openat": (257, 56), "close": (3, 57), "exit_group": (231, 94), "execve": (59, 221),
    "ioctl": (16, 29), "rt_sigaction": (13, 134), "pipe2": (293, 59), "getrandom": (318, 278),
    "prlimit64": (302, 261), "socketpair": (53, 199), "getxattr": (191, 8), "rseq": (334, 293),
    "faccessat2": (439, 439)}
DENIED = {
    "fork": (57, None), "vfork": (58, None), "ptrace": (101, 117), "setns": (308, 268), "unshare": (272, 97),
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51),
    "open_tree": (428, 428), "open_tree_attr": (467, 467), "move_mount": (429, 429), "fsopen": (430, 430),
    "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442), "shmget": (29, 194),
    "msgget": (68, 186), "semget": (64, 190), "mq_open": (240, 180), "memfd_create": (319, 279),
    "memfd_secret": (447, 447), "vmsplice": (278, 75), "setxattr": (188, 5), "lsetxattr": (189, 6),
    "fsetxattr": (190, 7), "setxattrat": (463, 463), "landlock_create_ruleset": (444, 444),
    "io_uring_setup": (425, 425), "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219), "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271), "syslog": (103, 116), "pidfd_open": (434, 434), "pidfd_getfd": (438, 438)}
both = pytest.mark.parametrize("machine", ARCH)


def answer(machine: str, number: int, argument: int = 0, arch: int | None = None) -> int:
    """What the filter says; it must be a program that the kernel takes: bounded, forward, in the data's bounds."""
    data = struct.pack("<IIQ6Q", number, ARCH[machine] if arch is None else arch, 0, argument, *[0] * 5)
    lines, place, found = list(struct.iter_unpack("=HBBI", seccomp.program(machine))), 0, 0
    assert len(lines) <= 4096
    while True:
        code, yes, no, value = lines[place]
        if code == 0x06:    # return
            return value
        if code == 0x20:    # load a word
            assert value % 4 == 0 and value + 4 <= len(data)
            found, = struct.unpack_from("<I", data, value)
        else:               # jump if equal, at least, any bit
            place += yes if {0x15: found == value, 0x35: found >= value, 0x45: bool(found & value)}[code] else no
        place += 1


def own(table: dict, machine: str) -> dict:
    numbers = {name: pair[list(ARCH).index(machine)] for name, pair in table.items()}
    return {name: number for name, number in numbers.items() if number is not None}


@both
def test_ordinary_calls_pass_and_denied_ones_fail(machine):
    assert {answer(machine, number) for number in own(ORDINARY, machine).values()} == {ALLOW}
    assert {answer(machine, number) for number in own(DENIED, machine).values()} == {FAIL | errno.EPERM}


@both
def test_no_other_call_is_denied(machine):
    known = {*own(DENIED, machine).values(), *own({"a": CLONE, "b": CLONE3, "c": SOCKET}, machine).values()}
    assert {number for number in range(470) if answer(machine, number) != ALLOW} == known


@both
def test_threads_are_made_and_processes_are_not(machine):
    number, = own({"clone": CLONE}, machine).values()
    for flags in (0x3D0F00, THREAD):  # the first is what pthread_create asks for
        assert answer(machine, number, flags) == ALLOW
    for flags in (0, 17, 0x01200011, 0x4111, 0x10000000, 0xFFFFFFFF ^ THREAD, THREAD << 32):
        assert answer(machine, number, flags) == FAIL | errno.EPERM
    assert answer(machine, own({"clone3": CLONE3}, machine)["clone3"], THREAD) == FAIL | errno.ENOSYS


@both
def test_sockets_are_local_or_netlink(machine):
    number, = own({"socket": SOCKET}, machine).values()
    assert {family for family in range(64) if answer(machine, number, family) == ALLOW} == {1, 16}
    assert answer(machine, number, 2) == FAIL | errno.EAFNOSUPPORT


@both
def test_calls_that_nobody_has_looked_at_do_not_exist(machine):
    denied = own(DENIED, machine).values()
    numbers = [470, 500, 1 << 20, 0xFFFFFFFF, *(0x40000000 | number for number in (0, 57, 101, *denied))]  # x32 too
    assert {answer(machine, number) for number in numbers} == {FAIL | errno.ENOSYS}


@both
def test_another_architecture_is_killed(machine):
    foreign = {*ARCH.values(), 0x40000003, 0x40000028, 0} - {ARCH[machine]}  # among them i386 and 32-bit ARM
    assert {answer(machine, number, 0, arch) for arch in foreign for number in (0, 63, 120)} == {KILL}
