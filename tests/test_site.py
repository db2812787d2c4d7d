"""The built site in a browser, wide and narrow, light and dark: `make check` runs this after `make book`."""

from __future__ import annotations

import os
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import myst
import pytest

pytestmark = pytest.mark.site
SITE = myst.ROOT / "_build" / "html"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PAGES = [p.relative_to(myst.ROOT).with_suffix(".html").as_posix() for p in myst.pages()] + ["search.html"]

# What a reader would see: formulas [all, of no size, cut off, with a mistake], raw TeX.
FORMULAS = """() => {
  const all = [...document.querySelectorAll('main .math')];
  const text = document.querySelector('main').innerText;
  const width = e => e?.getBoundingClientRect().width;
  const cut = e => e.matches('span') && width(e.querySelector('mjx-math')) > e.clientWidth + 1;
  const wrong = document.querySelectorAll('mjx-merror, .math [style*="color: red"]');
  return [all.length, all.filter(e => width(e) === 0).length, all.filter(cut).length, wrong.length,
          /\\\\[(\\[)\\]]/.test(text)];
}"""
OVERFLOW = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"


def need(condition: object, reason: str) -> None:
    if not condition:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def address():
    need((SITE / "index.html").exists(), "there is no built site: run `make book`")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=SITE)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def browser():
    need(CHROMIUM, "no Chromium found")
    from playwright.sync_api import sync_playwright
    with sync_playwright() as driver:
        # In a container Chromium runs as root, where its sandbox cannot.
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", PAGES)
def test_page(browser, address, name, width):
    with browser.new_context(viewport={"width": width, "height": 900}) as context:
        page = context.new_page()
        foreign, complaints = [], []
        page.on("request", lambda r: r.url.startswith((address, "data:")) or foreign.append(r.url))
        page.on("response", lambda r: r.status < 400 or complaints.append(f"{r.status} {r.url}"))
        page.on("console", lambda m: m.type in ("error", "warning") and complaints.append(m.text))
        page.on("pageerror", lambda e: complaints.append(str(e)))
        page.goto(f"{address}/{name}")
        # A script sets the formulas only where Node.js was missing at build time.
        page.evaluate("() => window.MathJax?.startup?.promise")
        page.evaluate("() => document.querySelectorAll('details').forEach(d => d.open = true)")

        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme)
            page.wait_for_function("theme => document.documentElement.dataset.theme === theme", arg=theme)
            assert page.evaluate(OVERFLOW) <= 0, f"the page scrolls sideways ({theme})"
            formulas, invisible, cut, wrong, raw = page.evaluate(FORMULAS)
            assert not invisible, f"{invisible} of {formulas} formulas take no room ({theme})"
            assert not cut, f"{cut} formulas inside a line are wider than the page ({theme})"
            assert not wrong, f"{wrong} formulas show an error ({theme})"
            assert not raw, f"raw TeX in the text ({theme})"
        assert foreign == []
        assert complaints == []


def test_line_under_a_statement_leads_to_its_card(browser, address):
    chapter = next(p for p in PAGES if 'class="ledger-line"' in (SITE / p).read_text("utf-8"))
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(f"{address}/{chapter}")
        page.locator(".ledger-line a").first.click()
        page.wait_for_selector(".ledger-card:target")
        card = page.locator(".ledger-card:target")
        assert card.locator(".ledger-mark").inner_text().startswith("✓")
        card.locator(".ledger-title a").click()
        page.wait_for_selector(":target .ledger-line")


def test_icons_are_drawn(browser, address):
    with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        page = context.new_page()
        page.goto(f"{address}/{PAGES[1]}")
        assert page.evaluate("""async () => {
            await document.fonts.ready;
            const all = [...document.querySelectorAll('main i[class*=fa-]')];
            const icons = all.filter(e => e.checkVisibility());
            return document.fonts.check("900 16px 'Font Awesome 6 Free'") && icons.length > 0
                && icons.every(e => getComputedStyle(e, '::before').content.length === 3);
        }""")


def test_colour_switch_works_without_a_reload(browser, address):
    with browser.new_context(color_scheme="light", viewport={"width": 1280, "height": 900}) as context:
        page = context.new_page()
        page.goto(f"{address}/index.html")
        seen = set()
        for _ in range(3):
            page.locator(".theme-switch-button:visible").first.click()
            seen.add(page.evaluate("() => document.documentElement.dataset.theme"))
        assert seen == {"light", "dark"}
