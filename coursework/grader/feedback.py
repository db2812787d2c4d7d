"""The page that a student gets back: each question's points, and what was right and wrong about the answers."""

from __future__ import annotations

from html import escape

from coursework.grader.gradebook import Row
from coursework.grader.late import Lateness

STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:50rem;margin:2rem auto;padding:0 1rem}
pre{background:#f4f4f4;padding:.7rem;overflow:auto;white-space:pre-wrap;overflow-wrap:anywhere}
@media(prefers-color-scheme:dark){body{background:#181818;color:#e4e4e4}pre{background:#262626}}"""


def number(value: float | None) -> str:
    return "not yet graded" if value is None else f"{value:g}"


def page(record: dict, row: Row | None, late: Lateness, total: float | None) -> str:
    """Return the feedback as HTML. All text comes from the student's side or from the questions, and is escaped."""
    title = f"{record['assignment']}: {record['student']}"
    parts = []
    if row is None:
        parts.append(f"<p><strong>Not graded:</strong> {escape(record['reason'])}. Please see your instructor.</p>")
    else:
        most = sum(q["points"] for q in record["questions"].values())
        parts.append(f"<p><strong>{number(total)} of {most:g} points</strong>"
                     + (f", after a deduction of {late.penalty(sum(s or 0 for s in row.scores.values())):g} for "
                        f"{late.days} late day(s)" if late.days else "") + "</p>")
        for name, question in record["questions"].items():
            parts.append(f"<h2>{escape(name)}: {number(row.scores[name])} of {question['points']:g}</h2>")
            if question["text"]:
                parts.append(f"<pre>{escape(question['text'])}</pre>")
            if name in row.comments:
                parts.append(f"<p>{escape(row.comments[name])}</p>")
        parts += _errors(record["notebook"])
    if record["notes"]:
        items = "".join(f"<li>{escape(note)}</li>" for note in record["notes"])
        parts.append(f"<h2>About the file</h2><ul>{items}</ul>")
    return (f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
            f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head>\n'
            f"<body><h1>{escape(title)}</h1>\n" + "\n".join(parts) + "\n</body></html>\n")


def _errors(notebook: dict) -> list[str]:
    """Tracebacks of the student's own cells."""
    found = []
    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            if output["output_type"] == "error":
                found.append(f"<pre>{escape(cell['source'][:300])}\n\n{escape(chr(10).join(output['traceback'])[:3000])}"
                             "</pre>")
    return ["<h2>Cells that failed</h2>", *found[:20]] if found else []
