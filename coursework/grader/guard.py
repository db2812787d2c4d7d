"""What keeps nbgrader's own tools from running what students wrote: their code, and markup in their texts."""

from __future__ import annotations

import re
from html import escape

from jinja2 import pass_context
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbgrader.preprocessors import NbGraderPreprocessor

PICTURE = re.compile(r"image/(png|jpeg|gif|webp)")
# MathJax would follow these to a link that runs a script, or to its extension for HTML.
REACHING = re.compile(r"\\(href|require|cssId|class|style|unicode)(?![a-zA-Z])")


class RefuseToExecute(NbGraderPreprocessor):
    """Stands where nbgrader would run a notebook: that would be without a sandbox."""

    def preprocess(self, nb, resources):
        raise RuntimeError("submissions are graded in a sandbox by `make grade SUBMISSIONS=folder`")


class Plain(IPythonRenderer):
    """Renders Markdown with the HTML in it shown as text, and no pictures but the attached ones."""

    def link(self, text: str, url: str, title: str | None = None) -> str:
        return f'<a href="{escape(url)}">{text}</a>' if re.match(r"https?://", url, re.IGNORECASE) else text

    def block_mermaidjs(self, code: str) -> str:
        return f"<pre>{escape(code)}</pre>"

    def image(self, text: str, url: str, title: str | None = None) -> str:
        bundle = self.attachments.get(url.removeprefix("attachment:"), {}) if url.startswith("attachment:") else {}
        for kind, data in bundle.items():
            if PICTURE.fullmatch(kind) and re.fullmatch(r"[A-Za-z0-9+/=\s]*", data):
                return f'<img src="data:{kind};base64,{data}" alt="">'
        return self.text(f"[picture {url}]")


@pass_context
def markdown(context, source: str) -> str:
    """Stands in for nbconvert's filter markdown2html, which lets scripts through."""
    renderer = Plain(escape=True, attachments=context.get("cell", {}).get("attachments", {}))
    return MarkdownWithMath(renderer=renderer).render(REACHING.sub(r"\\backslash \1", source))
