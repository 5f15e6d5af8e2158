"""A headless Chromium, for tests that look at a page as people do."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_browser() -> str | None:
    """Returns the path of an installed Chromium, None without one."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def open_browser() -> Iterator:
    """Yields a browser; skips the test where there is none."""
    path = find_browser()
    if path is None:
        pytest.skip(f"needs a browser: install one of {', '.join(NAMES)}")
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as playwright:
        # Tests may run as root, where Chromium has no sandbox.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()
