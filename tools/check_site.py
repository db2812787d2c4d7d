"""Read every built page and report what is broken: python tools/check_site.py

Links and anchors within the site, loads from other hosts, images without a description, ids used twice,
formulas and references that were not resolved, directives that were not rendered, pages without content.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup, Tag

ROOT = Path(__file__).resolve().parents[1]
LOADS = {"link": "href", "script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src",
         "object": "data"}
Anchors = dict[Path, set[str]]
# What an unrendered directive, role, label or formula leaves in the text of a page.
LEFTOVERS = {
    r"^\s*(`{3,}|:{3,})\s*\{?": "a directive that was not rendered",
    r"\{[a-z:]+\}`": "a role that was not rendered",
    r"^\([\w-]+\)=$": "a label that was not read",
    r"\$\$|\\begin\{|\\label\{": "TeX outside a formula",
}


def page_problems(page: Path, soup: BeautifulSoup, site: Path, anchors: Anchors) -> Iterator[str]:
    for tag, attribute in [("a", "href"), *LOADS.items()]:
        for element in soup.find_all(tag, attrs={attribute: True}):
            yield from link_problems(page, element, element[attribute], anchors)
    for image in soup.select("article img"):
        alt = image.get("alt", "").strip()
        if not alt or re.search(r"_images/|\.(png|svg)$", alt):
            yield f"image {image.get('src')} has no description (alt)"
    for name, count in Counter(e["id"] for e in soup.find_all(id=True)).items():
        if count > 1:
            yield f"the id {name} occurs {count} times"
    article = soup.find("article")
    if article is None or generated(page, site):
        return
    yield from text_problems(article)


def generated(page: Path, site: Path) -> bool:
    """Sphinx writes the index and the search page; they carry no text of the book."""
    return page.relative_to(site).as_posix() in ("genindex.html", "prf-prf.html", "search.html")


def link_problems(page: Path, element: Tag, address: str, anchors: Anchors) -> Iterator[str]:
    url = urlsplit(address)
    if url.scheme in ("http", "https") or url.netloc:
        if element.name != "a" and "canonical" not in element.get("rel", []):
            yield f"loads {address} from another host"
        return
    if url.scheme:
        return
    target = (page.parent / unquote(url.path)).resolve() if url.path else page.resolve()
    if not target.is_file():
        yield f"broken link {address}"
    elif url.fragment and unquote(url.fragment) not in anchors.get(target, {unquote(url.fragment)}):
        yield f"link to a missing place {address}"


def text_problems(article: Tag) -> Iterator[str]:
    for error in article.select("mjx-merror, .MathJax_Error"):
        yield f"formula that cannot be set: {error.get('data-mjx-error', error.get_text(' ', strip=True))}"
    if article.select("[class~=problematic], .system-message"):
        yield "an error message of the parser in the text"
    if "???" in article.get_text():
        yield "a reference (???) to an equation that does not exist"
    # Code and formulas may hold any of the leftovers below.
    for part in article.select("pre, code, mjx-container, .math"):
        part.decompose()
    text = article.get_text()
    for pattern, meaning in LEFTOVERS.items():
        for found in re.finditer(pattern, text, re.M):
            yield f"{meaning}: {text[found.start():found.start() + 60].strip()!r}"
    if len(text.split()) < 10:
        yield "a page without content"


def problems(site: Path) -> tuple[int, list[str]]:
    pages = [p for p in sorted(site.rglob("*.html")) if not p.relative_to(site).parts[0].startswith("_")]
    soups = {p: BeautifulSoup(p.read_text(encoding="utf-8"), "html.parser") for p in pages}
    anchors = {p.resolve(): {e["id"] for e in s.find_all(id=True)} | {e["name"] for e in s.select("a[name]")}
               for p, s in soups.items()}
    return len(pages), [f"{p.relative_to(site)}: {line}" for p, s in soups.items()
                        for line in page_problems(p, s, site, anchors)]


def main() -> int:
    site = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "_build" / "html"
    if not (site / "index.html").is_file():
        print(f"check_site: no site in {site}; run `make book` first", file=sys.stderr)
        return 1
    count, found = problems(site)
    print("\n".join([*found, f"check_site: {count} pages, {len(found)} problems"]))
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
