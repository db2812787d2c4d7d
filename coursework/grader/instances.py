"""The instances that a submission is judged on: the student's own, and fresh ones that nobody can foresee."""

from __future__ import annotations

import hmac
import os
import secrets

import numpy as np

from coursework.grader.settings import Course, Refusal
from dualkit.coursework import Question, instance

FRESH = 2


def secret(course: Course) -> bytes:
    """Return the course's secret; made at first use, readable by its owner only."""
    path = course.private() / "secret"
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(32))
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        pass
    if path.stat().st_mode & 0o077:
        raise Refusal(f"others may read the secret of the course: chmod 600 {path}")
    key = path.read_bytes()
    if len(key) != 32:
        raise Refusal("the secret of the course is damaged; remove it, then grade everything again with --regrade")
    return key


def draw(question: Question, student: str, key: bytes) -> list[dict]:
    """Return the instances of a question for a student: own first."""
    result = [instance(question.name, student)]
    for number in range(FRESH):
        digest = hmac.digest(key, f"{question.name}:{student}:{number}".encode(), "sha256")
        result.append(question.draw(np.random.default_rng(int.from_bytes(digest[:8], "big"))))
    return result


def as_data(instances: list[dict]) -> list[dict]:
    """Instances as JSON can hold them."""
    return [{name: np.asarray(value).tolist() for name, value in one.items()} for one in instances]
