"""Keep nbgrader's gradebook: scores of the machine go in, scores and comments of people come out."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

import nbformat
from nbgrader.api import Comment, Grade, Gradebook, MissingEntry

from coursework.grader.records import write_atomically
from coursework.grader.settings import Course


@dataclass
class Row:
    """The scores of one submission in the gradebook, by question; None where a person must still grade."""

    scores: dict[str, float | None] = field(default_factory=dict)
    comments: dict[str, str] = field(default_factory=dict)


def open_gradebook(course: Course) -> Gradebook:
    # nbgrader calls the program alembic, which lies beside this Python.
    beside = os.path.dirname(sys.executable)
    if beside not in os.environ.get("PATH", "").split(os.pathsep):
        os.environ["PATH"] = os.pathsep.join([beside, os.environ.get("PATH", os.defpath)])
    return Gradebook(f"sqlite:///{course.private() / 'gradebook.db'}")


def define(book: Gradebook, course: Course, assignment: str) -> None:
    """Tell the gradebook what cells an assignment has, as nbgrader's SaveCells does."""
    book.update_or_create_assignment(assignment)
    book.update_or_create_notebook(assignment, assignment, kernelspec="{}")
    for cell in nbformat.read(course.release(assignment), as_version=4).cells:
        marks = cell.metadata.get("nbgrader")
        if not marks:
            continue
        place = (marks.grade_id, assignment, assignment)
        if marks.grade:
            book.update_or_create_grade_cell(*place, max_score=float(marks.points), cell_type=cell.cell_type)
        if marks.solution:
            book.update_or_create_solution_cell(*place)
        if marks.grade or marks.solution or marks.locked:
            book.update_or_create_source_cell(*place, cell_type=cell.cell_type, locked=marks.locked,
                                              source=cell.source, checksum=marks.get("checksum"))


def cell_of(question: dict, name: str) -> str:
    """The graded cell of a question: the proof itself, or the check of a function."""
    return name if question.get("hand") else f"{name}-check"


def enter(course: Course, graded: list[dict]) -> Iterator[tuple[dict, Row]]:
    """Bring the gradebook up to date, again and again with the same effect, and yield each record with its scores.

    Scores that a person entered stay. When the submission behind one has changed, nbgrader asks for it once more.
    """
    noted_path = course.private() / "booked.json"
    noted = json.loads(noted_path.read_text()) if noted_path.exists() else {}
    with open_gradebook(course) as book:
        for name in sorted({record["assignment"] for record in graded}):
            define(book, course, name)
        for record in graded:
            name, student = record["assignment"], record["student"]
            try:
                submission = book.find_submission(name, student)
            except MissingEntry:
                book.update_or_create_student(student)
                with book.db.no_autoflush:  # nbgrader's own use of its session warns otherwise
                    submission = book.add_submission(name, student)
                noted.pop(f"{name}/{student}", None)  # of one that is gone
            _complete(submission.notebooks[0])
            book.db.flush()
            mark = f"{name}/{student}"
            changed = noted.get(mark) != record["key"]
            _enter_scores(submission, record, changed)
            noted[mark] = record["key"]
            yield record, _read_scores(submission, record)
        book.db.commit()
    write_atomically(noted_path, json.dumps(noted))


def rename(course: Course, assignment: str, old: str, new: str) -> None:
    """Give a submission to another id, with all that people entered; if that id has one, it takes what it lacks."""
    with open_gradebook(course) as book:
        try:
            submission = book.find_submission(assignment, old)
        except MissingEntry:
            return
        student = book.update_or_create_student(new)
        there = [other for other in student.submissions if other.name == assignment]
        if there:
            _hand_over(submission, there[0])
            book.remove_submission(assignment, old)
        else:
            submission.student = student
        book.db.commit()
        if not book.find_student(old).submissions:
            book.remove_student(old)


def _hand_over(old, new) -> None:
    """Copy what people entered and the new one does not have; formgrader asks for such a score once more."""
    for notebook in old.notebooks:  # none if its removal was cut off
        for kind, what in (("grades", "manual_score"), ("grades", "extra_credit"), ("comments", "manual_comment")):
            there = {cell.name: cell for cell in getattr(new.notebooks[0], kind)}
            for cell in getattr(notebook, kind):
                entered, target = getattr(cell, what), there.get(cell.name)
                if entered is not None and target and getattr(target, what) is None:
                    setattr(target, what, entered)
                    if kind == "grades":
                        target.needs_manual_grade = True


def _complete(notebook) -> None:
    """Give a submission the cells that its assignment got since."""
    for kind, cells, there in ((Grade, notebook.notebook.grade_cells, notebook.grades),
                               (Comment, notebook.notebook.solution_cells, notebook.comments)):
        for number in {cell.id for cell in cells} - {cell.cell_id for cell in there}:
            there.append(kind(cell_id=number))


def _enter_scores(submission, record: dict, changed: bool) -> None:
    notebook = submission.notebooks[0]
    grades = {grade.name: grade for grade in notebook.grades}
    comments = {comment.name: comment for comment in notebook.comments}
    for name, question in record["questions"].items():
        grade = grades[cell_of(question, name)]
        grade.auto_score = (0.0 if question["empty"] else None) if question.get("hand") else question["score"]
        if changed:
            grade.needs_manual_grade = grade.auto_score is None or grade.manual_score is not None
        if question.get("hand") and name in comments:
            comments[name].auto_comment = "No response." if question["empty"] else None


def _read_scores(submission, record: dict) -> Row:
    notebook = submission.notebooks[0]
    grades = {grade.name: grade for grade in notebook.grades}
    comments = {comment.name: comment for comment in notebook.comments}
    row = Row()
    for name, question in record["questions"].items():
        grade = grades[cell_of(question, name)]
        score = grade.auto_score if grade.manual_score is None else grade.manual_score
        row.scores[name] = None if score is None else score + (grade.extra_credit or 0.0)
        if name in comments and comments[name].manual_comment:
            row.comments[name] = comments[name].manual_comment
    return row


def set_penalty(course: Course, penalties: dict[tuple[str, str], float]) -> None:
    """Write late penalties where nbgrader keeps them, so that its own export agrees."""
    with open_gradebook(course) as book:
        for (assignment, student), penalty in penalties.items():
            book.find_submission(assignment, student).notebooks[0].late_submission_penalty = penalty
        book.db.commit()


def write_autograded(course: Course, record: dict) -> None:
    """Lay the executed notebook where formgrader looks for it, unless it is there already."""
    folder = course.state / "autograded" / record["student"] / record["assignment"]
    note = folder / ".key"
    if note.exists() and note.read_text() == record["key"] + record["graded_at"]:
        return
    shutil.rmtree(folder, ignore_errors=True)
    write_atomically(folder / f"{record['assignment']}.ipynb", json.dumps(record["notebook"], indent=1))
    write_atomically(note, record["key"] + record["graded_at"])
