"""Judge answers, which are data from a stranger, in a process of its own with limits."""

from __future__ import annotations

import json
import multiprocessing
import resource
from dataclasses import asdict, dataclass

from coursework.grader.instances import draw
from coursework.grader.settings import MIB
from dualkit.coursework import Question, verdict

SECONDS, MEMORY = 60, 4096 * MIB
PLACES = ("your instance", "a fresh instance", "another fresh instance")


@dataclass(frozen=True)
class Judgement:
    """The share of a question's points that its answers earn, why, and whether a person must look."""

    fraction: float
    text: str
    human: bool = False


def judge(question: Question, student: str, key: bytes, text: str) -> Judgement:
    """Judge the answers to all instances of a question: the mean of their shares.

    The student's own instance is known beforehand, numbers for it may be copied: it counts no more than the others.
    """
    instances = draw(question, student, key)
    try:
        answers = json.loads(text)
    except (ValueError, RecursionError):
        return Judgement(0.0, "the answers are not JSON, or too long")
    if not isinstance(answers, list) or len(answers) != len(instances):
        return Judgement(0.0, f"{len(instances)} answers are expected, one for each instance")
    shares, lines, human = [], [], False
    for place, given, answer in zip(PLACES, instances, answers, strict=True):
        share, said = 0.0, "no answer"
        if isinstance(answer, dict) and "values" in answer:
            try:
                found = verdict(question, given, answer["values"])
                share, said = found.fraction, str(found)
            except Exception as error:  # the check of a question must not fail: somebody has to look
                said, human = f"the answer could not be judged ({type(error).__name__})", True
        elif isinstance(answer, dict):
            said = "the function raised " + str(answer.get("error"))[:300].rstrip(": ")
        shares.append(share)
        lines.append(f"On {place}:\n{said[:3000]}")
    fresh = sum(shares[1:]) / len(shares[1:])
    if shares[0] > fresh:
        lines.append("An answer counts as far as the function also gives it on fresh instances.")
    return Judgement((min(shares[0], fresh) + sum(shares[1:])) / len(shares), "\n".join(lines), human)


def judge_all(questions: tuple[Question, ...], student: str, key: bytes,
              answers: dict[str, str]) -> dict[str, Judgement]:
    """Judge each question that has answers. A judgement that does not end is 0 points and a case for a person."""
    context = multiprocessing.get_context("fork")
    waiting, found = [q for q in questions if q.name in answers], {}
    while waiting:
        receiver, sender = context.Pipe(duplex=False)
        child = context.Process(target=_work, args=(sender, waiting, student, key, answers))
        child.start()
        sender.close()
        try:
            while waiting and receiver.poll(SECONDS):
                found[waiting[0].name] = Judgement(**json.loads(receiver.recv_bytes()))
                waiting = waiting[1:]
        except EOFError:
            pass
        child.kill()
        child.join()
        if waiting:
            found[waiting[0].name] = Judgement(0.0, "the answer could not be judged within its limits", human=True)
            waiting = waiting[1:]
    return found


def _work(sender, questions: list[Question], student: str, key: bytes, answers: dict[str, str]) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS * len(questions), SECONDS * len(questions)))
    for question in questions:
        sender.send_bytes(json.dumps(asdict(judge(question, student, key, answers[question.name]))).encode())
