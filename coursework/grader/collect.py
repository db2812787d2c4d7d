"""Find submissions in a folder or in the zip of an LMS, whoever named the files."""

from __future__ import annotations

import csv
import hashlib
import io
import lzma
import os
import re
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from coursework.grader.preflight import Unreadable
from coursework.grader.settings import MIB, Refusal

LARGEST = 200 * MIB       # one file
LARGEST_ZIP = 100 * MIB   # the zip of one student
MOST_FILES = 20_000
LONGEST = 100             # bytes of a student's id
MOODLE = re.compile(r"(?P<name>.+?)_(?P<number>\d+)_assignsubmission_(?:file|onlinetext)_?(?P<file>.*)",
                    re.DOTALL)
CANVAS = re.compile(r"(?P<name>[^_]+)(?P<late>_late)?_(?P<number>\d+)_\d+_(?P<file>.+)", re.IGNORECASE | re.DOTALL)
JUNK = {"__MACOSX", ".DS_Store", ".ipynb_checkpoints", "Thumbs.db", "desktop.ini"}
NOTEBOOK = re.compile(r"\.ipynb(\.txt|\.json)?$", re.IGNORECASE)  # browsers append the second
# What the zip module raises for archives that somebody broke.
BROKEN = (zipfile.BadZipFile, KeyError, RuntimeError, NotImplementedError, EOFError, OSError, ValueError,
          struct.error, zlib.error, lzma.LZMAError)
COUNTER = re.compile(r"(\s*\(\d+\)|-\d+|[ _-]*copy)+$", re.IGNORECASE)


@dataclass(frozen=True)
class File:
    """A file of a submission: where it lies on disk, and where in the zip there."""

    name: str
    path: Path
    inside: str = ""

    def mark(self) -> int:
        """A number that changes with the content, for what cannot be unpacked: checksum in a zip, else length."""
        if not self.inside:
            return self.path.lstat().st_size
        with zipfile.ZipFile(self.path) as archive:
            return archive.getinfo(self.inside).CRC

    def read(self, most: int = LARGEST) -> bytes:
        """Return its bytes; Unreadable if it is a link, no plain file, or too long."""
        try:
            if self.inside:
                with zipfile.ZipFile(self.path) as archive:
                    return _take(archive, archive.getinfo(self.inside), most)
            with open(os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise Unreadable(f"{self.name} is not a plain file")
                data = file.read(most + 1)
        except BROKEN:
            how = "cannot be unpacked" if self.inside else "is a link or cannot be read"
            raise Unreadable(f"{self.name} {how}") from None
        return _bounded(self.name, data, most)


@dataclass
class Submission:
    """What one student handed in for one assignment."""

    student: str
    assignment: str
    files: list[File] = field(default_factory=list)
    late: bool = False
    problem: str = ""
    called: set[str] = field(default_factory=set)


def _bounded(name: str, data: bytes, most: int) -> bytes:
    if len(data) > most:
        raise Unreadable(f"{name} has more than {most // MIB} MiB")
    return data


def _take(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, most: int) -> bytes:
    """Unpack one entry in memory; what the archive says about its length is not believed."""
    if entry.flag_bits & 1:
        raise Unreadable(f"{entry.filename} is encrypted")
    with archive.open(entry) as file:
        return _bounded(entry.filename, file.read(most + 1), most)


def _entries(archive: zipfile.ZipFile) -> Iterator[tuple[zipfile.ZipInfo, str]]:
    """The files of an archive, each with what is wrong with it: a link, or a path to elsewhere."""
    entries = archive.infolist()
    if len(entries) > MOST_FILES:
        raise Unreadable(f"the zip holds {len(entries)} files")
    for entry in entries:
        name, problem = entry.filename.replace("\\", "/"), ""
        parts, folder = PurePosixPath(name).parts, name.endswith("/")
        if name.startswith("/") or re.match(r"[A-Za-z]:", name) or ".." in parts or not (parts or folder):
            problem = f"the zip holds a path that leads out of it, {entry.filename[:200]!r}"
        elif stat.S_ISLNK(entry.external_attr >> 16):
            problem = f"the zip holds a link, {entry.filename[:200]!r}"
        if (problem or not folder) and not JUNK & set(parts):
            yield entry, problem


def notebooks(files: Iterable[File]) -> list[tuple[str, bytes]]:
    """Return name and content of the notebooks among the files of a submission, its zips unpacked in memory."""
    found = []
    for file in files:
        if NOTEBOOK.search(file.name):
            found.append((file.name, file.read()))
        elif file.name.lower().endswith(".zip"):
            try:
                with zipfile.ZipFile(io.BytesIO(file.read(LARGEST_ZIP))) as archive:
                    entries = list(_entries(archive))
                    for problem in filter(None, (problem for _, problem in entries)):
                        raise Unreadable(problem)
                    wanted = [entry for entry, _ in entries if NOTEBOOK.search(entry.filename)]
                    if sum(entry.file_size for entry in wanted) > LARGEST or len(wanted) > 50:
                        raise Unreadable(f"{file.name} unpacks to more than {LARGEST // MIB} MiB of notebooks")
                    found += [(entry.filename, _take(archive, entry, LARGEST)) for entry in wanted]
            except BROKEN:
                raise Unreadable(f"{file.name} is not a zip that can be unpacked") from None
    return found


def plain_name(name: str) -> str:
    """The name of a notebook without folders, endings and the counters that browsers and Canvas append."""
    return COUNTER.sub("", NOTEBOOK.sub("", PurePosixPath(name.replace("\\", "/")).name)).lower()


def identifier(text: str) -> str:
    """A student's id as it is used everywhere: lower case, safe as a file name and in a spreadsheet."""
    # macOS writes letters and their accents apart; without the first step Zoe and Zoë would be one student.
    whole = unicodedata.normalize("NFKC", text).strip().lower()
    name = re.sub(r"[^\w.@+]+", "-", whole).strip("-.@+")
    if name and len(name.encode()) <= LONGEST:
        return name
    # Cut so that it fits into the name of a file, and still another for each student.
    mark = hashlib.sha256(whole.encode(errors="surrogatepass")).hexdigest()[:12]
    return f"{name.encode()[:LONGEST - 13].decode(errors='ignore') or 'unnamed'}-{mark}"


def read_roster(path: Path | None) -> dict[str, str]:
    """Return {alias: student id} from a CSV: a column `student`, and columns with other names of each student."""
    if path is None:
        return {}
    with open(path, newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    if not rows or "student" not in rows[0]:
        raise Refusal(f"{path.name} must have a column `student`, and a row for each student")
    found: dict[str, str] = {}
    for row in rows:
        for alias in filter(None, (row[column] for column in row if column)):
            if not (row["student"] or "").strip():
                raise Refusal(f"{path.name}: the row with {alias!r} has no student")
            who = identifier(row["student"])
            if found.setdefault(identifier(alias), who) != who:
                raise Refusal(f"{path.name}: {alias!r} stands for two students, "
                              f"{found[identifier(alias)]} and {who}")
    return found


def collect(place: Path, assignment: str | None, known: list[str], roster: dict[str, str]) -> list[Submission]:
    """Return the submissions in a folder or zip, sorted by assignment and student.

    The roster learns the ids that its students had without it, so that export can move what was graded then.
    """
    found: dict[tuple[str, str], Submission] = {}
    for parts, file, problem in _walk(place):
        student, called, late, rest = _owner(parts, known, roster)
        folder = next((part for part in rest[:-1] if part.lower() in known), "")
        named = folder.lower() or next((name for name in known if re.search(rf"(?<![a-z0-9]){name}(?!\d)",
                                                                           rest[-1].lower())), "")
        target = assignment or named
        if assignment and folder and folder.lower() != assignment:
            continue
        if not target:
            raise Refusal(f"which assignment is {'/'.join(parts)}? Name it: ASSIGNMENT=hw1")
        one = found.setdefault((target, student), Submission(student, target))
        one.late |= late
        one.called.add(unicodedata.normalize("NFKC", called))
        one.problem = one.problem or problem
        if file:
            one.files.append(file)
    for one in found.values():
        if len(one.called) > 1:
            names = ", ".join(repr(name[:50]) for name in sorted(one.called)[:5])
            one.problem = f"{names} make one id, {one.student}; a roster can tell them apart, or rename the folders"
    return [found[key] for key in sorted(found)]


def _walk(place: Path) -> Iterator[tuple[tuple[str, ...], File | None, str]]:
    """Yield the parts of each file's name, the file, and what is wrong with it."""
    if place.is_dir():
        for folder, folders, names in os.walk(place):
            folders[:] = sorted(name for name in folders if name not in JUNK)
            for name in sorted({*names, *(n for n in folders if os.path.islink(os.path.join(folder, n)))} - JUNK):
                path = Path(folder, name)
                parts = path.relative_to(place).parts
                yield (parts, None, f"{name} is a link") if path.is_symlink() else (parts, File(name, path), "")
    elif zipfile.is_zipfile(place):
        try:
            with zipfile.ZipFile(place) as archive:
                entries = list(_entries(archive))
        except (Unreadable, *BROKEN) as error:
            raise Refusal(f"{place.name} cannot be unpacked: {error}") from None
        parts = [PurePosixPath(entry.filename.replace("\\", "/")).parts or ("/",) for entry, _ in entries]
        wrapped = len({p[0] for p in parts}) == 1 and parts[0][0] in (place.stem, "submissions", "submitted")
        for one, (entry, problem) in zip(parts, entries, strict=True):
            whose = one[wrapped:] or one
            if problem and (whose[0] in ("/", "//", "..") or ":" in whose[0]):
                raise Refusal(f"{place.name}: {problem}, and does not tell whose it is; take it out of the zip")
            yield whose, None if problem else File(one[-1], place, entry.filename), problem
    else:
        raise Refusal(f"SUBMISSIONS must be a folder or a zip, found {place}")


def _owner(parts: tuple[str, ...], known: list[str],
           roster: dict[str, str]) -> tuple[str, str, bool, tuple[str, ...]]:
    """Whose a file is, how that is written, whether the LMS calls it late, its name below the student's folder."""
    # Canvas first: the end of its names is what students call their files, and may look like one of Moodle's.
    for pattern in (CANVAS, MOODLE):
        match = pattern.fullmatch(parts[0])
        if match:
            name, number = match["name"], match["number"]
            rest = (match["file"], *parts[1:]) if match["file"] else parts[1:]
            by_roster = roster.get(identifier(number)) or roster.get(identifier(name))
            called = f"{name}-{number}"
            if by_roster:
                roster.setdefault(identifier(called), by_roster)
                called = by_roster
            return identifier(called), called, bool(match.groupdict().get("late")), rest or parts
    if len(parts) > 1:
        who, rest = parts[0], parts[1:]
    else:
        stem = COUNTER.sub("", parts[0].split(".")[0]) or parts[0]
        who = re.sub(rf"[ _-]*(?<![a-z0-9])({'|'.join(known)})(?!\d)[ _-]*", "", stem, flags=re.IGNORECASE) or stem
        rest = parts
    called = roster.get(identifier(who), who)
    return identifier(called), called, False, rest
