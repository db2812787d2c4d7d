"""Coursework: an instance for each student, and checks that say what is wrong and not what would be right.

A question is answered by a function that takes the arrays of an instance and returns arrays. An answer is a
certificate: whoever checks it evaluates constraints and bounds, and needs no solution to compare with. The same
checks run for the student, on the student's own instance, and for the grader, on more instances.
"""

from dualkit.coursework._answers import check, instance
from dualkit.coursework._questions import (
    Assignment,
    Condition,
    Proof,
    Question,
    Verdict,
    assignment,
    find,
    tiers,
    verdict,
)

__all__ = ["Assignment", "Condition", "Proof", "Question", "Verdict", "assignment", "check", "find", "instance",
           "tiers", "verdict"]
