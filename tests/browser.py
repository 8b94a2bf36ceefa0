"""A real browser for tests: Debian's chromium, driven by Playwright, which downloads nothing of its own.

The fixtures `browser` and `page` come by `tests/conftest.py`; `until` waits in a page.

Without playwright or chromium what asks for these fixtures is skipped, and says why.
"""

import shutil
import time
from collections.abc import Iterator
from typing import Any

import pytest

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",  # audio plays in a browser that nobody sits at
)


SECONDS = 15.0  # that something may take to happen on a slow machine


def until(page: Any, script: str) -> None:
    """Wait until a JavaScript expression is true; as Playwright's own, but it needs no `eval`, which pages may forbid.

    Raises:
        AssertionError: It stays false.
    """
    end = time.monotonic() + SECONDS
    while not page.evaluate(script):
        assert time.monotonic() < end, f"still not true: {script}"
        page.wait_for_timeout(20)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """The browser, one for all tests of a process."""
    playwright = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("no chromium in PATH (Debian's package chromium)")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=path, headless=True, args=list(ARGUMENTS))
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page of its own; a script's error in it, or one on its console, fails the test."""
    context = browser.new_context(viewport={"width": 1100, "height": 1000})
    opened = context.new_page()
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    yield opened
    context.close()
    assert not errors, errors
