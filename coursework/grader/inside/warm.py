"""Runs in the sandbox before grading: imports what submissions will, so that its byte code is in the cache."""

import importlib
import json
import os
import shutil
import sys

sys.path.append("/env")
sys.path.append("/grader")
job = json.load(sys.stdin)
MORE = {"scipy": ["optimize", "linalg", "sparse", "sparse.linalg", "special", "stats", "interpolate", "integrate",
                  "spatial", "signal"],
        "matplotlib": ["pyplot"], "numpy": ["linalg", "random", "polynomial"]}
shutil.rmtree("/cache/env/dualkit", ignore_errors=True)  # may hold what an earlier version showed: the checks
shell = importlib.import_module("runner").make_shell()
shell.run_cell("1 / 0")
for name in ["dualkit", "dualkit.coursework", *job["imports"]]:
    importlib.import_module(name)
    for part in MORE.get(name, ()):
        importlib.import_module(f"{name}.{part}")
fonts = os.environ["MPLCONFIGDIR"]
if os.path.isdir(fonts):
    shutil.copytree(fonts, "/cache/matplotlib", dirs_exist_ok=True)
print(json.dumps({"ready": True}))
