"""Command line: python -m coursework.grader release | grade | export | prove."""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

from coursework.grader.collect import read_roster
from coursework.grader.records import only_one
from coursework.grader.settings import Course, Refusal


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m coursework.grader", description=__doc__)
    parser.add_argument("--course", type=Path, default=Course().root, help="folder with source/ and release/")
    parser.add_argument("--state", type=Path, default=None, help="folder for all that grading makes")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("release", help="make the student versions of all masters")
    commands.add_parser("prove", help="try to break out of the sandbox")
    grading = commands.add_parser("grade", help="grade the submissions in a folder or a zip, then export")
    grading.add_argument("submissions", type=Path)
    grading.add_argument("--assignment", default=None, help="which one, where names do not tell")
    grading.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    grading.add_argument("--regrade", action="store_true", help="also what has not changed")
    grading.add_argument("--cell-seconds", type=float, default=Course().limits.cell)
    grading.add_argument("--total-seconds", type=float, default=Course().limits.total)
    grading.add_argument("--minutes", type=float, default=math.inf, help="begin no submission after so long")
    for command in (grading, commands.add_parser("export", help="write gradebook, feedback and grades.csv again")):
        command.add_argument("--roster", type=Path, default=None, help="CSV: student, and other names of each")
        command.add_argument("--deadlines", type=Path, default=None, help="ini file, see coursework/README.md")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace) -> None:
    began = time.monotonic()
    course = Course(root=options.course, **({"state": options.state} if options.state else {}))
    if options.command == "release":
        from coursework.grader.release import make
        changed = make(course)
        print(f"{len(course.assignments())} assignments released, {len(changed)} changed")
        return
    if options.command == "prove":
        from coursework.grader.sandbox import prepare
        from dualkit.coursework import assignment
        for imports in sorted({assignment(name).imports for name in course.assignments()}):
            prepare(course, imports)
            print(f"the sandbox with {', '.join(imports)} is tight")
        return
    roster, left = read_roster(options.roster), 0
    if options.command == "grade":
        from coursework.grader.grade import grade
        limits = replace(course.limits, cell=options.cell_seconds, total=options.total_seconds)
        left = grade(replace(course, limits=limits), options.submissions, options.assignment, roster,
                     max(1, options.jobs), options.regrade, options.minutes)
    from coursework.grader.export import export, summary
    with only_one(course):
        lines = export(course, roster, options.deadlines or course.state / "deadlines.ini")
    print(summary(lines, time.monotonic() - began))
    if left:
        print(f"{left} were not begun within {options.minutes:g} minutes: give the command again")
    print(f"Grades: {course.state / 'grades.csv'}; feedback: {course.state / 'feedback'}")


def main(arguments: list[str] | None = None) -> None:
    try:
        run(parse(arguments))
    except Refusal as error:
        sys.exit(f"grader: {error}")


if __name__ == "__main__":
    main()
