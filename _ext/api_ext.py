"""Docstrings as the reader of the source sees them: mathematics in plain text is not reStructuredText.

``||x||``, ``c_`` and ``2 * x`` mean substitutions, links and emphasis to docutils. They are escaped here, outside
literals and examples, before numpydoc arranges the sections; so docstrings need no markup for it.
"""

import re


def escape(line):
    # The bullet of a list, literals in single or double backticks and roles stay as they are.
    parts = re.split(r"(^\s*\* |:\w+:`[^`]*`|``.*?``|`[^`]*`)", line)
    parts[::2] = [re.sub(r"[|*]|(?<=\w)_(?!\w)", r"\\\g<0>", part) for part in parts[::2]]
    return "".join(parts)


def escape_docstring(app, what, name, obj, options, lines):
    example = False
    for k, line in enumerate(lines):
        example = bool(line.strip()) and (example or line.lstrip().startswith(">>>"))
        if not example:
            lines[k] = escape(line)


def setup(app):
    app.connect("autodoc-process-docstring", escape_docstring, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
