"""Runs in the sandbox: the cells of one notebook, one after the other, in IPython's shell.

The job comes as JSON on standard input; what happens goes out as lines of JSON. Nothing that this process says is
trusted: the notebook's code shares the process.
"""

import ast
import contextlib
import io
import json
import os
import resource
import shutil
import signal
import sys
import traceback


class OutOfTime(BaseException):
    """A cell has used its seconds. No Exception, so that `except Exception` in a cell does not keep it."""


class Notes(io.TextIOBase):
    """Standard output and error of a cell: the first characters are kept, a flood is counted."""

    encoding = "utf-8"

    def __init__(self, most):
        self.most, self.kept, self.length = most, [], 0

    def writable(self):
        return True

    def write(self, text):
        room = self.most - self.length
        if room > 0:
            self.kept.append(text[:room])
        self.length += len(text)
        return len(text)

    def text(self):
        lost = self.length - self.most
        return "".join(self.kept) + (f"\n... and {lost} more characters" if lost > 0 else "")


class EachImport(ast.NodeTransformer):
    """An import that fails is reported, and the rest of its cell runs."""

    def visit_Module(self, module):
        def guarded(node):
            if not isinstance(node, (ast.Import, ast.ImportFrom)):
                return node
            report = ast.parse("import sys as _s; print(f'{type(_e).__name__}: {_e}', file=_s.stderr)").body
            handler = ast.ExceptHandler(type=ast.Name("ImportError", ast.Load()), name="_e", body=report)
            return ast.Try(body=[node], handlers=[handler], orelse=[], finalbody=[])
        module.body = [node if getattr(node, "module", "") == "__future__" else guarded(node)
                       for node in module.body]
        return ast.fix_missing_locations(module)


def make_shell():
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    config.InteractiveShell.autocall = 0
    shell = InteractiveShell.instance(config=config)
    shell.ast_transformers.append(EachImport())
    shell.showtraceback = shell.showsyntaxerror = shell.showindentationerror = lambda *a, **k: None  # told below
    shell.ask_exit = lambda: None
    shell.system = shell.system_piped = shell.system_raw = lambda *a: print("shell commands do nothing here")
    shell.getoutput = lambda *a, **k: []
    magic = shell.run_line_magic

    def line_magic(name, *arguments, **options):
        try:
            return magic(name, *arguments, **options)
        except Exception as error:  # %matplotlib, %pip, %load_ext: conveniences of another place
            print(f"%{name}: {error}", file=sys.stderr)
    shell.run_line_magic = line_magic
    return shell


def describe(error, most=3000):
    """The last frames of a traceback, the notebook's own first."""
    if isinstance(error, OutOfTime):
        return str(error)
    lines = traceback.format_exception(type(error), error, error.__traceback__, limit=-6)
    text = "".join(line for line in lines if "/env/IPython/" not in line)
    return text if len(text) <= most else text[:most // 2] + "\n...\n" + text[-most // 2:]


def name_of(error):
    last = traceback.format_exception_only(type(error), error)[-1].strip()
    return last[:300]


def main():
    job = json.load(sys.stdin)
    sys.path[:0] = ["/student", "/env"]
    channel = os.dup(1)
    nothing = os.open("/dev/null", os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nothing, number)
    resource.setrlimit(resource.RLIMIT_NPROC, (64, 64))

    def say(**message):
        data = json.dumps(message).encode() + b"\n"
        while data:
            data = data[os.write(channel, data):]

    folder = "/student/.grading"
    os.makedirs(f"{folder}/answers")
    with open(f"{folder}/instances.json", "w") as file:
        json.dump(job["instances"], file)
    if os.path.isdir("/cache/matplotlib"):
        shutil.copytree("/cache/matplotlib", os.environ["MPLCONFIGDIR"])

    def ring(*_):
        raise OutOfTime(f"the cell was stopped after {job['seconds']:g} seconds")
    signal.signal(signal.SIGALRM, ring)
    shell = make_shell()
    for source in job["prelude"]:
        with contextlib.redirect_stdout(Notes(0)), contextlib.redirect_stderr(Notes(0)):
            shell.run_cell(source)
    for number, source in job["cells"]:
        say(start=number)
        notes, error = Notes(job["text"]), None
        try:
            with contextlib.redirect_stdout(notes), contextlib.redirect_stderr(notes):
                signal.setitimer(signal.ITIMER_REAL, job["seconds"])
                try:
                    result = shell.run_cell(source, store_history=False)
                    error = result.error_before_exec or result.error_in_exec
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
        except BaseException as caught:
            error = caught
        if isinstance(error, MemoryError):
            # What filled the memory may live on in a variable: leave; a fresh process goes on without the cell.
            os._exit(77)
        for question in job["instances"]:
            path = f"{folder}/answers/{question}.json"
            if os.path.isfile(path):
                with open(path, errors="replace") as file:
                    say(answer=question, text=file.read(job["answer"]))
                os.remove(path)  # so that it is not taken for what a later cell answers
        failure = {} if error is None else {"error": name_of(error), "traceback": describe(error)}
        say(done=number, text=notes.text(), **failure)
    say(end=True)
    os._exit(0)


if __name__ == "__main__":
    main()
