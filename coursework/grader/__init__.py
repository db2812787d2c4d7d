"""The grader of the coursework: it runs students' functions in a sandbox and judges what they return.

    collect -> preflight -> execute (in the sandbox) -> verify -> record -> export

A graded answer is an array that satisfies conditions, so nothing here, in the questions or in the masters helps to
find one. See coursework/README.md, or `python -m coursework.grader --help`.
"""
