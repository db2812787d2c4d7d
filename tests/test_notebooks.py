"""The sources of the book: stored notebooks, mistakes that Sphinx does not notice, and the plain versions."""

from __future__ import annotations

import re

import execution_cache
import myst
import nbformat
import plain_markdown
import plain_notebook
import pytest
import refresh
import yaml

PAGES = myst.pages()
NOTEBOOKS = myst.chapters()

# Each of these builds without a warning and looks wrong on the page.
SILENT_MISTAKES = {
    r"(?m)^ *`{3,}\{[^}]+\}[^\n]*`": "a fence with backticks in its title is no fence and prints raw",
    r"\\eqref|\\label\{|\\ref\{": "TeX labels: write $$ ... $$ (eq-name) and {eq}`eq-name`",
    r"\\left\\[lr]Vert|\\left\\\|": "scaled norm bars look broken: write \\norm{...}",
    r"(?m)^ *(`{3,}|:{3,})\{prf:proof\} +\S": "a proof takes no title",
}
# Keys that jupyter-book reads; it ignores all others without a word.
CONFIG_KEYS = {
    "": {"title", "author", "copyright", "logo", "only_build_toc_files", "execute", "parse",
         "bibtex_bibfiles", "html", "sphinx", "exclude_patterns"},
    "execute": {"execute_notebooks", "timeout", "allow_errors", "stderr_output", "run_in_temp",
                "exclude_patterns"},
    "parse": {"myst_enable_extensions"},
    "html": {"favicon", "home_page_in_navbar", "use_edit_page_button", "use_issues_button",
             "use_repository_button", "extra_footer", "baseurl"},
    "sphinx": {"recursive_update", "extra_extensions", "local_extensions", "config"},
}


def ids(pages):
    return [p.stem for p in pages]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=ids(NOTEBOOKS))
def test_notebook_is_stored_clean(path):
    assert refresh.problems(path) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=ids(NOTEBOOKS))
def test_every_figure_has_alt_text_and_caption(path):
    for number, cell in enumerate((c for c in nbformat.read(path, 4).cells if c.cell_type == "code"), 1):
        if any(str(o.get("data", {}).get("text/plain", "")).startswith("<Figure") for o in cell.outputs):
            settings = cell.metadata.get("mystnb", {})
            alt, caption = settings.get("image", {}).get("alt"), settings.get("figure", {}).get("caption")
            assert alt and alt.strip(), f"code cell {number} has a figure without alt text"
            assert caption and caption.strip(), f"code cell {number} has a figure without caption"


@pytest.mark.parametrize("path", PAGES, ids=ids(PAGES))
def test_no_mistake_that_builds_in_silence(path):
    for text in myst.markdown(path):
        for pattern, reason in SILENT_MISTAKES.items():
            found = re.search(pattern, text)
            assert not found, f"{path.name}: {reason}: {found[0]!r}"
        for directive in myst.directives(text):
            if directive.name == "prf:proof":
                assert re.match(r"[A-Z$]", directive.body) and not directive.body.startswith("$$"), (
                    f"{path.name}: a proof must start with a word: {directive.body[:60]!r}")


@pytest.mark.parametrize("section", CONFIG_KEYS)
def test_config_has_no_key_that_is_ignored(section):
    config = yaml.safe_load((myst.ROOT / "_config.yml").read_text(encoding="utf-8"))
    assert set(config[section] if section else config) <= CONFIG_KEYS[section]


class Anything(dict):
    """A book in which every label has a name, so that a chapter converts before the book is built."""

    def __missing__(self, key):
        return "Theorem 7.1"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=ids(NOTEBOOKS))
def test_plain_version_needs_no_myst(path):
    config = yaml.safe_load((myst.ROOT / "_config.yml").read_text(encoding="utf-8"))
    macros = plain_notebook.macros(config)
    book = plain_markdown.Book(Anything({"": ""}), macros, plain_notebook.sources(
        myst.ROOT / config["bibtex_bibfiles"][0]))
    plain = plain_notebook.convert_notebook(nbformat.read(path, 4), book, "Title")
    nbformat.validate(plain)
    assert [c.source for c in plain.cells if c.cell_type == "code"] == [
        c.source for c in nbformat.read(path, 4).cells if c.cell_type == "code" and c.source.strip()]
    for cell in plain.cells:
        if cell.cell_type == "markdown":
            text = re.sub(r"```.*?```|`[^`]*`", "", cell.source, flags=re.S)
            assert not re.search(r"\{[a-z][\w:-]*\}`|:::|^\([\w-]+\)=", text, re.M), text
            assert not re.search(rf"\\({'|'.join(macros)})(?![A-Za-z])", text), text


def test_plain_text_of_each_kind_of_block():
    book = plain_markdown.Book({"thm-a": "Theorem 2.3", "eq-a": "2.1", "ex-a": "Exercise 2.1"},
                               {"norm": [r"\lVert #1\rVert", 1], "RR": [r"\mathbb{R}", 0], "T": [r"\top", 0]},
                               {"key": ("Fenchel", "1949", "")}, {"gap": "0.0001234"})
    source = (":::{prf:theorem} Duality\n:label: thm-a\n\nFor $x \\in \\RR^n$:\n\n"
              "$$\n\\norm{\\frac{x}{2}} = X^\\T y\n$$ (eq-a)\n:::\n\n"
              "::::{dropdown} Proof\n```{prf:proof}\nBy {eq}`eq-a` and {cite}`key`.\n```\n::::\n\n"
              "See {prf:ref}`thm-a`, {prf:ref}`above <thm-a>`, [](#ex-a), {glue:text}`gap:.1e`, `\\RR`.")
    assert plain_markdown.convert(source, book) == (
        "> **Theorem 2.3** (Duality)\n>\n> For $x \\in \\mathbb{R}^n$:\n>\n"
        "> $$ \\lVert \\frac{x}{2}\\rVert = X^\\top y \\tag{2.1} $$\n\n"
        "<details>\n<summary>Proof</summary>\n\n*Proof.* By (2.1) and [Fenchel, 1949]. ∎\n\n</details>\n\n"
        "See Theorem 2.3, above, Exercise 2.1, 1.2e-04, `\\RR`.")


def test_unknown_directive_is_refused():
    with pytest.raises(ValueError, match="hexagon"):
        plain_markdown.convert(":::{hexagon}\ntext\n:::", plain_markdown.Book({}, {}, {}))


def test_fences_nest_and_keep_their_options():
    text = ("before\n::::{prf:theorem} T\n:label: thm-a\n\n:::{note}\ninside\n:::\n::::\nafter\n"
            "```python\n:::{x}\n```")
    parts = myst.split(text)
    assert [type(p).__name__ for p in parts] == ["Text", "Fence", "Text", "Fence"]
    assert (parts[1].label, parts[1].argument) == ("thm-a", "T") and parts[1].is_statement
    assert [d.name for d in myst.directives(text)] == ["prf:theorem", "note"]


def test_execution_cache_forgets_when_the_package_changes(tmp_path):
    module = tmp_path / "dualkit" / "m.py"
    module.parent.mkdir()
    module.write_text("x = 1")
    output = nbformat.v4.new_output("stream", name="stdout", text="1\n")
    notebook = nbformat.v4.new_notebook(metadata=refresh.METADATA, cells=[
        nbformat.v4.new_code_cell("print(1)", execution_count=1, outputs=[output])])
    execution_cache.store(notebook, tmp_path / "page.ipynb", tmp_path)
    asked = nbformat.v4.new_notebook(metadata=refresh.METADATA, cells=[nbformat.v4.new_code_cell("print(1)")])
    assert execution_cache.executed(asked, tmp_path).cells[0].outputs[0].text == "1\n"
    assert not execution_cache.drop_stale(tmp_path)
    module.write_text("x = 2")
    assert execution_cache.drop_stale(tmp_path)
    with pytest.raises(KeyError):
        execution_cache.executed(asked, tmp_path)
