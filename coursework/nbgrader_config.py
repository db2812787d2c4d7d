"""What nbgrader's own tools, formgrader above all, need to know; `make formgrader` starts them in this folder."""

import os
import sys
from pathlib import Path

from nbgrader.preprocessors import CheckCellMetadata, ClearOutput, ComputeChecksums, LockCells, SaveCells

root = Path(__file__).resolve().parent
# A file that cannot be loaded is passed over, and with it the guards below: nothing may depend on PYTHONPATH.
sys.path.append(str(root.parent))
# For a new gradebook nbgrader calls the program alembic, which lies beside this Python.
os.environ["PATH"] = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)])

from coursework.grader.guard import RefuseToExecute  # noqa: E402
from coursework.grader.release import ClearMarkedSolutions  # noqa: E402

c = get_config()  # noqa: F821  (nbgrader provides it)
state = Path(os.environ.get("GRADING") or root / "grading").resolve()
state.mkdir(mode=0o700, parents=True, exist_ok=True)  # `nbgrader collect` would make it for all to read

c.CourseDirectory.course_id = "dualkit"
c.CourseDirectory.root = str(root)
c.CourseDirectory.db_url = f"sqlite:///{state / 'gradebook.db'}"
c.CourseDirectory.submitted_directory = os.path.relpath(state / "submitted", root)
c.CourseDirectory.autograded_directory = os.path.relpath(state / "autograded", root)
c.CourseDirectory.feedback_directory = os.path.relpath(state / "feedback", root)
c.ExportPlugin.to = str(state / "nbgrader.csv")

# nbgrader would replace a question's text by "YOUR ANSWER HERE", and would run submissions on this machine.
c.GenerateAssignment.preprocessors = [LockCells, ClearMarkedSolutions, ClearOutput, CheckCellMetadata,
                                      ComputeChecksums, SaveCells]
# Formgrader's pages have the rights of the Jupyter server: no HTML of students may get into them.
c.HTMLExporter.filters = {"markdown2html": "coursework.grader.guard.markdown"}
c.Autograde.sanitize_preprocessors = [RefuseToExecute]
c.Autograde.autograde_preprocessors = [RefuseToExecute]
