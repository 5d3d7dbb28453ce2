"""A person who judges suspects in FiftyOne's App, in a real browser."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = "--no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update"
PATIENCE_MS = 180_000


@contextlib.contextmanager
def open_page(url: str) -> Iterator[Page]:
    """The page in a browser, until the block ends."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make setup")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    with api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        page = browser.new_page(viewport={"width": 1500, "height": 1000})
        page.set_default_timeout(PATIENCE_MS)
        page.goto(url)
        yield page
        browser.close()


def tag_suspect(page: Page, sample_id: str, box_rel_xywh: list[float], tag: str) -> str:
    """Open a photo of the view, point at the suspect at a place of it, and tag that label.

    Args:
        page: FiftyOne's App on a view of suspects.
        sample_id: The photo.
        box_rel_xywh: A suspect of the photo, as shares of it; the photo is square.
        tag: The tag's name.

    Returns:
        What the App shows about the suspect.
    """
    page.locator("[data-cy=looker]").first.wait_for()
    page.goto(f"{page.url}&id={sample_id}")
    page.locator("[data-cy=modal] [data-cy=checkbox-ground_truth]").click()  # only suspects can be chosen then
    shown = page.locator("[data-cy=modal-looker-container]").bounding_box()
    assert shown is not None
    side = min(shown["width"], shown["height"])
    x, y, width, height = box_rel_xywh
    at = (
        shown["x"] + shown["width"] / 2 + side * (x + width / 2 - 0.5),
        shown["y"] + shown["height"] / 2 + side * (y + height / 2 - 0.5),
    )
    about = page.get_by_text("suspect_id", exact=True)
    for _ in range(PATIENCE_MS // 500):  # the photo appears some time after its frame
        page.mouse.move(at[0] + 1, at[1])
        page.mouse.move(*at)
        page.wait_for_timeout(500)
        if about.first.is_visible():
            break
    said = page.locator("body").inner_text()
    page.mouse.click(*at)
    page.locator("[data-cy=action-tag-sample-labels]").last.click()  # that of the photo, not that of the grid
    field = page.get_by_placeholder("+ tag selected label")
    field.click()
    field.fill(tag)
    field.press("Enter")
    page.get_by_text("Apply", exact=True).last.click()
    field.wait_for(state="detached")
    return said
