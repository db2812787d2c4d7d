"""A class that hands in Coursework 1: good, broken and hostile submissions, for tests and for timing.

Good students answer two questions, with general solvers.
"""

from __future__ import annotations

import ast
import copy
import hashlib
import io
import json
import zipfile
from pathlib import Path

import nbformat
import numpy as np
from scipy.optimize import minimize

ROOT = Path(__file__).resolve().parents[1]
RELEASE = ROOT / "coursework" / "release" / "hw1" / "hw1.ipynb"
FULL = 30.0  # points of the two questions that good students answer

SLEEPS = "import time\nwhile True:\n    try:\n        time.sleep(1)\n    except {caught}:\n        pass"
FLOOD = "for k in range(100):\n    print('x' * 1_000_000)"
BOMB = "hoard = []\nwhile True:\n    hoard.append(bytes(50_000_000))"


def solve_q1(X, lam, c):
    """Both problems as a general smooth optimiser takes them; tests/test_coursework_hw1.py has the others."""
    g, d = X.T @ lam / np.linalg.norm(X.T @ lam), X.shape[1]
    precise = {"method": "SLSQP", "options": {"ftol": 1e-15, "maxiter": 500}}
    inside = [{"type": "ineq", "fun": lambda v: 1 - np.sum((v[:d] - v[d:]) ** 2)},
              {"type": "ineq", "fun": lambda v: c - v.sum()}]
    bounds = [(0, None)] * (2 * d)
    starts = (0.3 * np.maximum([*g, *-g], 0), 0.1 * np.maximum([*g, *-g], 0), np.full(2 * d, 0.01))
    runs = [minimize(lambda v: -g @ (v[:d] - v[d:]), start, bounds=bounds, constraints=inside, **precise)
            for start in starts]
    # It may diverge, or say that it failed where it did not: what counts is the best feasible point.
    units = [run.x[:d] - run.x[d:] for run in runs]
    u = max((u / max(1, np.linalg.norm(u), np.abs(u).sum() / c) for u in units), key=lambda u: g @ u)
    below = {"type": "ineq", "fun": lambda t: np.concatenate([t[-1] - t[:-1], t[-1] + t[:-1]])}
    t = minimize(lambda t: np.linalg.norm(g - t[:-1]) + c * t[-1], np.append(g / 2, np.abs(g).max()),
                 constraints=below, **precise).x
    return {"u": u, "z": t[:-1] * np.linalg.norm(X.T @ lam)}


def solver(question: str) -> str:
    """The source of the general solver of a question, as a student would define it."""
    home = Path(__file__) if question == "q1" else ROOT / "tests" / "test_coursework_hw1.py"
    text = home.read_text(encoding="utf-8")
    found = next(node for node in ast.parse(text).body
                 if isinstance(node, ast.FunctionDef) and node.name == f"solve_{question}")
    source = ast.get_source_segment(text, found).replace(f"def solve_{question}", f"def {question}")
    return f"from scipy.optimize import minimize\n\n{source}"


def notebook(answers: dict[str, str] | None = None, student: str = "", first: str = "", last: str = "",
             proof: str = "", before: dict[str, str] | None = None) -> nbformat.NotebookNode:
    """The release with answers filled in, and cells of the student's own: first, last, or before a given one."""
    result = nbformat.read(RELEASE, as_version=4)
    cells = []

    def code(source):  # no random id: what a file holds decides on its fresh instances
        return nbformat.v4.new_code_cell(source, id=f"own-{hashlib.sha256(source.encode()).hexdigest()[:8]}")

    for cell in result.cells:
        if cell.id in (before or {}):
            cells.append(code(before[cell.id]))
        cells.append(cell)
        if cell.id == "hw1-setup":
            cell.source = cell.source.replace("your-id", student or "your-id")
            cells += [code(first)] if first else []
        name = cell.id.removeprefix("hw1-")
        if name in (answers or {}):
            cell.source = answers[name]
        if name == "p1" and proof:
            cell.source += f"\n\n{proof}"
    result.cells = cells + ([code(last)] if last else [])
    return result


def good(student: str = "", **more) -> nbformat.NotebookNode:
    answers = {"q1": solver("q1"), "q2": solver("q2"), **more.pop("answers", {})}
    return notebook(answers, student, **more)


def text(book: nbformat.NotebookNode) -> bytes:
    return nbformat.writes(book).encode()


def edited(change, book: nbformat.NotebookNode | None = None) -> bytes:
    """A good notebook's JSON after a change that nbformat would not make."""
    content = json.loads(text(book or good()))
    change(content)
    return json.dumps(content).encode()


def zipped(entries: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    with io.BytesIO() as buffer:
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in entries.items():
                archive.writestr(name, data)
            for name, target in (links or {}).items():
                info = zipfile.ZipInfo(name)
                info.external_attr = 0o120777 << 16
                archive.writestr(info, target)
        return buffer.getvalue()


def _old_format(content: dict) -> None:
    cells = copy.deepcopy(content["cells"])
    for cell in cells:
        cell.pop("id")
        if cell["cell_type"] == "code":
            cell.update(input=cell.pop("source"), language="python", prompt_number=1, collapsed=False)
    content.clear()
    content.update(nbformat=3, nbformat_minor=0, metadata={}, worksheets=[{"cells": cells, "metadata": {}}])


def _cell(content: dict, name: str) -> dict:
    return next(cell for cell in content["cells"] if cell.get("id") == name)


def _duplicated(content: dict) -> None:
    number = content["cells"].index(_cell(content, "hw1-q2"))
    first = copy.deepcopy(content["cells"][number])
    first["source"] = "def q2(W1, W2, W3, beta):\n    return {}\n\ncheck('hw1-q2', q2, STUDENT)"
    content["cells"][number:number] = [first, copy.deepcopy(_cell(content, "hw1-q3-check"))]


def _deleted(content: dict) -> None:
    kept = ("hw1-q1", "hw1-q2", "hw1-p1")
    content["cells"] = [cell for cell in content["cells"] if cell["id"] in kept]


def _bare(content: dict) -> None:
    for cell in content["cells"]:
        cell["metadata"] = {}
        cell.pop("id")
    content["nbformat_minor"] = 4


def _colab(content: dict) -> None:
    for cell in content["cells"]:
        cell["metadata"] |= {"id": cell.pop("id"), "cellView": "form", "outputId": "1", "colab": {"height": 35}}
    setup = "%pip install x\nfrom google.colab import drive\ndrive = None"
    content["cells"].insert(0, {"cell_type": "code", "metadata": {"id": "x"}, "source": [setup], "outputs": [
        {"output_type": "stream", "name": "stdout", "text": ["x"]}], "execution_count": 1})
    content.update(nbformat_minor=0, metadata={"colab": {"provenance": []}, "accelerator": "GPU"})


def _kinds(content: dict) -> None:
    _cell(content, "hw1-q2")["cell_type"] = "markdown"
    _cell(content, "hw1-q1")["cell_type"] = "raw"
    _cell(content, "hw1-p1").update(cell_type="code", outputs=[], execution_count=None)


def _kernel(content: dict) -> None:
    content["metadata"] = {"kernelspec": {"name": "ir", "display_name": "R", "language": "R"}}


def _long_outputs(content: dict) -> None:
    _cell(content, "hw1-q2")["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "x" * 30_000_000}]


def _weakened(content: dict) -> None:
    for name in ("hw1-q3-check", "hw1-q4-check"):
        _cell(content, name)["source"] = "print('100 % of this question')"
        _cell(content, name)["metadata"]["nbgrader"]["points"] = 1000


def broken() -> dict[str, dict[str, bytes]]:
    """Files by student, of submissions that something is wrong with, through no evil."""
    conflict = text(good()).replace(b'"cells"', b'\n<<<<<<< HEAD\n"cells"', 1)
    one = {  # name: content of hw1.ipynb
        "untouched": text(notebook()),
        "zero-bytes": b"",
        "no-cells": json.dumps({"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}).encode(),
        "cut-off": text(good())[:5000],
        "merge-conflict": conflict,
        "not-a-notebook": b"[1, 2, 3]",
        "binary": bytes(range(256)) * 10,
        "conflict-in-a-cell": text(good(answers={"q2": "<<<<<<< HEAD\ndef q2(): pass\n=======\n>>>>>>> b"})),
        "syntax-error": text(good(answers={"q2": "def q2(:\n    return 1"})),
        "duplicated": edited(_duplicated),
        "deleted": edited(_deleted),
        "reordered": edited(lambda content: content["cells"].reverse()),
        "wrong-kernel": edited(_kernel),
        "old-format": edited(_old_format),
        "no-metadata": edited(_bare),
        "colab": edited(_colab),
        "wrong-types": edited(_kinds),
        "stored-outputs": edited(_long_outputs),
        "flood": text(good(first=FLOOD)),
        "loop": text(good(first=SLEEPS.format(caught="Exception"))),
        "loop-for-ever": text(good(first=SLEEPS.format(caught="BaseException"))),
        "memory": text(good(first=BOMB)),
        "memory-in-answer": text(good(answers={"q3": "def q3(H, V, s):\n    return {'s': bytearray(1 << 40)}"})),
        "exit": text(good(first="import os\nos._exit(0)")),
        "exit-in-answer": text(good(answers={"q3": "import os\ndef q3(H, V, s):\n    os._exit(3)"})),
        "polite-exit": text(good(first="import sys\nsys.exit()")),
        "segfault": text(good(first="import ctypes\nctypes.string_at(0)")),
        "recursion": text(good(answers={"q3": "def q3(H, V, s):\n    return q3(H, V, s)"})),
        "warnings": text(good(first="import warnings, sys\nwarnings.warn('careful')\nprint('o', file=sys.stderr)")),
        "imports": text(good(first="import numpy as np\nimport pandas as pd\nimport torch\n!pip install x\n%pylab\n"
                                   "still_here = 1", last="assert still_here")),
    }
    found = {name: {"hw1.ipynb": data} for name, data in one.items()}
    found["renamed"] = {"My homework (1).ipynb": text(good())}
    found["browser-suffix"] = {"hw1 (2).ipynb.txt": text(good())}
    found["two-notebooks"] = {"a.ipynb": text(good()), "b.ipynb": text(good())}
    found["draft-beside"] = {"draft.ipynb": text(notebook()), "hw1.ipynb": text(good())}
    found["no-notebook"] = {"report.pdf": b"%PDF-1.4"}
    found["zipped"] = {"work.zip": zipped({"work/hw1.ipynb": text(good()), "__MACOSX/._hw1.ipynb": b"junk"})}
    return found


def replayed(student: str) -> str:
    """A function that returns a student's right numbers, whatever it is asked."""
    from dualkit.coursework import instance
    names: dict = {}
    exec("import numpy as np\n" + solver("q2"), names)
    numbers = {name: value.tolist() for name, value in names["q2"](**instance("hw1-q2", student)).items()}
    return f"def q2(W1, W2, W3, beta):\n    return {numbers!r}"


def lay_out(folder: Path, students: dict[str, dict[str, bytes]], assignment: str = "hw1") -> None:
    """Write submissions as nbgrader collects them."""
    for student, files in students.items():
        for name, data in files.items():
            path = folder / student / assignment / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


def hostile(state: Path, port: int, victim: str) -> dict[str, dict[str, bytes]]:
    """Files by student, of submissions that try to gain something, or to harm others."""
    wrong = "def q3(H, V, s):\n    return {'s': 0 * s}"
    patch = ("import numpy as np, dualkit.coursework as c, dualkit.coursework._questions as q, json\n"
             "np.allclose = lambda *a, **k: True\nnp.linalg.norm = lambda *a, **k: 0.0\n"
             "c.verdict = q.verdict = lambda *a: 1\nq.Verdict.fraction = 1.0\n")
    answers = "/student/.grading/answers/"
    unasked = "ask = check\ncheck = lambda name, *rest: name == 'hw1-q4' or ask(name, *rest)"
    forge = (f"import os, json\nfolder = {answers!r}\ncheck = print\n"
             "for name in ('hw1-q3', 'hw1-q4', '../../../../etc/x'):\n    try:\n"
             "        open(folder + name + '.json', 'w').write(json.dumps([{'fraction': 1, 'values': {}}] * 3))\n"
             "    except OSError as error:\n        print(error)\n"
             "for number in range(3, 30):\n    try:\n"
             "        os.write(number, b'{\"answer\": \"hw1-q3\", \"text\": \"[{\\\\\"fraction\\\\\": 1}]\"}\\n"
             "{\"done\": 999, \"text\": \"x\"}\\n{\"score\": 100}\\nnoise\\n')\n"
             "    except OSError:\n        pass")
    end = ("import os\nfor number in range(3, 30):\n    try:\n        os.write(number, b'{\"end\": true}\\n')\n"
           "    except OSError:\n        pass")
    link = (f"import os\nfolder = {answers!r}\n"
            f"os.symlink({str(state / 'secret')!r}, folder + 'hw1-q3.json')\n"
            "os.mkfifo(folder + 'hw1-q4.json')\n" + unasked)
    silence = ("ip = get_ipython()\nip.ast_transformers.clear()\n"
               "ip.run_cell = lambda *a, **k: type('R', (), {'error_before_exec': None, 'error_in_exec': None})()\n"
               "import dualkit.coursework\ncheck = dualkit.coursework.check = lambda *a: print('100 %')")
    read = ("import os, glob\n"
            f"for place in [{str(state / 'secret')!r}, {str(state / 'gradebook.db')!r}, '/proc/1/cmdline',\n"
            f"              '/etc/passwd', {str(ROOT / 'tests')!r}, '/proc/1/root' + {str(state / 'secret')!r}]:\n"
            "    try:\n        data = open(place, 'rb').read()\n        print('READ', place, data)\n"
            "    except OSError as error:\n        print('NO', type(error).__name__)\n"
            "print(sorted(os.listdir('/')))")
    write = ("import os\n"
             f"for place in [{str(state / 'gradebook.db')!r}, {str(state / 'records/hw1' / victim)!r} + '.json',\n"
             f"              {str(RELEASE)!r}, '/env/dualkit/coursework/hw1.py', '/grader/runner.py']:\n"
             "    try:\n        open(place, 'w').write('owned')\n        print('WROTE', place)\n"
             "    except OSError as error:\n        print('NO', type(error).__name__)")
    network = ("import socket, urllib.request\n"
               f"for address in [('127.0.0.1', {port}), ('192.0.2.1', 80)]:\n    try:\n"
               "        socket.create_connection(address, 2)\n        print('CONNECTED')\n"
               "    except OSError as error:\n        print('NO', error)")
    kill = ("import os, signal\nfor pid in [-1, 1, *range(2, 400), os.getppid()]:\n    if pid != os.getpid():\n"
            "        try:\n            os.kill(pid, signal.SIGKILL)\n        except OSError:\n            pass")
    daemon = ("import os, subprocess, threading, multiprocessing, time\n"
              "for attempt in (os.fork, lambda: subprocess.Popen(['sleep', '999']),\n"
              "                lambda: multiprocessing.get_context('fork').Process(target=time.sleep).start()):\n"
              "    try:\n        attempt()\n        print('STARTED')\n    except OSError as error:\n"
              "        print('NO', error)\n"
              "threading.Thread(target=time.sleep, args=(999,), daemon=False).start()")
    disk = ("for k in range(100):\n    try:\n        open(f'junk{k}', 'wb').write(bytes(30_000_000))\n"
            "    except OSError as error:\n        print('NO', error)\n        break\nelse:\n    print('FILLED')\n"
            "import os\nfor k in range(100):\n    if os.path.exists(f'junk{k}'):\n        os.remove(f'junk{k}')")
    threads = ("import threading, time\ntry:\n    for k in range(5000):\n"
               "        threading.Thread(target=time.sleep, args=(999,), daemon=True).start()\n"
               "    print('STARTED')\nexcept RuntimeError as error:\n    print('NO', error)")
    babble = ("import os\nwhile True:\n    for number in range(3, 20):\n        try:\n"
              "            os.write(number, b'x' * 65536)\n        except OSError:\n            pass")
    shown = "def q3(H, V, s):\n    raise ValueError('<script>alert(1)</script>')"
    nest = ("def q3(H, V, s):\n    deep = []\n    for k in range(900):\n        deep = [deep]\n"
            "    return {'s': [*deep, 10 ** 400]}\n"
            f"with open('{answers}hw1-q4.json', 'w') as file:\n    file.write('[' * 1_000_000)\n" + unasked)
    huge = "import numpy as np\ndef q3(H, V, s):\n    return {'s': np.zeros(3_000_000)}"
    odd = ("import numpy as np\ndef q3(H, V, s):\n    return {'s': ['a', None, {}, np.inf]}\n"
           "def q4(X, y, beta, leak):\n"
           "    return {'U': np.full((2, 3), 1e50), 'w': np.full(3, -1e50), 'c': 1e50, 'lam': 0 * y}")
    pickled = ("import pickle, os\nclass Evil:\n    def __reduce__(self):\n        return os.system, ('id',)\n"
               "def q3(H, V, s):\n    return Evil()\n"
               f"open('{answers}hw1-q4.json', 'wb').write(pickle.dumps(Evil()))\n" + unasked)
    cells = {
        "patches": good(answers={"q3": patch + wrong}), "forges": notebook({"q3": wrong}, first=forge),
        "ends-early": notebook(first=end), "links": good(first=link), "silences": good(before={"hw1-q1": silence}),
        "reads": good(first=read), "writes": good(first=write), "connects": good(first=network),
        "kills": good(first=kill), "daemon": good(first=daemon), "fills": good(first=disk),
        "threads": good(last=threads), "script": good(answers={"q3": shown}), "nests": good(answers={"q3": nest}),
        "babbles": good(last=babble), "huge": good(answers={"q3": huge}), "odd": good(answers={"q3": odd}),
        "pickles": good(answers={"q3": pickled}),
    }
    found = {name: {"hw1.ipynb": text(book)} for name, book in cells.items()}
    found["weakens"] = {"hw1.ipynb": edited(_weakened)}
    found["bomb"] = {"hw1.zip": zipped({"hw1.ipynb": b" " * 250_000_000})}
    found["traversal"] = {"hw1.zip": zipped({f"../../records/hw1/{victim}.ipynb": text(good())})}
    found["link-in-zip"] = {"hw1.zip": zipped({}, {"hw1.ipynb": str(state / "secret")})}
    found["json-bomb"] = {"hw1.ipynb": b"[" * 5_000_000}
    return found
