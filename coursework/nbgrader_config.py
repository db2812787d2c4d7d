"""What nbgrader's own tools, formgrader above all, need to know; `make formgrader` starts them in this folder."""

import os
from pathlib import Path

from nbgrader.preprocessors import CheckCellMetadata, ClearOutput, ComputeChecksums, LockCells, SaveCells

from coursework.grader.guard import RefuseToExecute
from coursework.grader.release import ClearMarkedSolutions

c = get_config()  # noqa: F821  (nbgrader provides it)
root = Path(__file__).resolve().parent
state = Path(os.environ.get("GRADING") or root / "grading").resolve()

c.CourseDirectory.course_id = "dualkit"
c.CourseDirectory.root = str(root)
c.CourseDirectory.db_url = f"sqlite:///{state / 'gradebook.db'}"
c.CourseDirectory.submitted_directory = os.path.relpath(state / "submitted", root)
c.CourseDirectory.autograded_directory = os.path.relpath(state / "autograded", root)
c.CourseDirectory.feedback_directory = os.path.relpath(state / "feedback", root)

# nbgrader would replace a question's text by "YOUR ANSWER HERE", and would run submissions on this machine.
c.GenerateAssignment.preprocessors = [LockCells, ClearMarkedSolutions, ClearOutput, CheckCellMetadata,
                                      ComputeChecksums, SaveCells]
# Formgrader's pages have the rights of the Jupyter server: no HTML of students may get into them.
c.HTMLExporter.filters = {"markdown2html": "coursework.grader.guard.markdown"}
c.Autograde.sanitize_preprocessors = [RefuseToExecute]
c.Autograde.autograde_preprocessors = [RefuseToExecute]
