"""Keep nbgrader from running submissions itself."""

from __future__ import annotations

from nbgrader.preprocessors import NbGraderPreprocessor


class RefuseToExecute(NbGraderPreprocessor):
    """Stands where nbgrader would run a notebook: that would be without a sandbox."""

    def preprocess(self, nb, resources):
        raise RuntimeError("submissions are graded in a sandbox by `make grade SUBMISSIONS=folder`")
