"""The web UI as a person meets it: a real browser, on a real `agar ui`, on a small dataset."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agar_pipeline.store import Key, Store
from tests.conftest import edit_samples, move_first_box
from tests.dagster_server import DagsterDev, serve, trainers, wait_for

if TYPE_CHECKING:
    from playwright.sync_api import Page

api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make setup")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium"),
    pytest.mark.timeout(900),
]
FLAGS = (
    "--no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update "
    "--disable-sync --disable-quic"
)
PATIENCE_MS = 180_000
"""A step takes seconds; on a machine that is busy with other tests, a minute."""


def _one_long_training(configs: Path) -> None:
    """Nothing is launched by itself, and the only experiment would train for hours."""
    pipeline, experiment = configs / "pipeline" / "small.yaml", configs / "experiment" / "other.yaml"
    text = pipeline.read_text().replace("auto_refresh: true", "auto_refresh: false")
    pipeline.write_text(text.replace("[small, other]", "[other]"))
    long = "trainer: {max_epochs: 5000, val_every_n_epochs: 5000, accelerator: cpu}\n"
    experiment.write_text(experiment.read_text().partition("trainer:")[0] + long)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagsterDev]:
    data = ("snapshot", "split", "coco_cache", "bbox_report")
    with serve(tmp_path_factory.mktemp("ui"), _one_long_training, built=data, guarded=True) as server:
        yield server


@pytest.fixture(scope="module")
def page(server: DagsterDev) -> Iterator[Page]:
    with api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        page = browser.new_page(base_url=server.address, viewport={"width": 1600, "height": 1400})
        page.set_default_timeout(PATIENCE_MS)
        api.expect.set_options(timeout=PATIENCE_MS)
        page.goto(server.first_address)
        page.get_by_text("Overview").first.wait_for()  # from here on the cookie does
        yield page
        browser.close()


def launch_training(page: Page, devices: int) -> None:
    """Open the launchpad of the job `train`, set `devices` in what stands there, and launch."""
    page.goto("/locations/agar_pipeline.definitions/jobs/train/playground")
    editor = page.locator(".CodeMirror").first
    api.expect(editor).to_contain_text("socket_ifname: null")
    shown = editor.evaluate("box => box.CodeMirror.getValue()")
    changed, count = re.subn(r"devices: \w+", f"devices: {devices}", shown)
    assert count == 1, "what `compute` takes stands there; the launchpad remembers what it was given last"
    editor.evaluate("(box, text) => box.CodeMirror.setValue(text)", changed)
    page.get_by_role("button", name="Launch Run").click()
    page.wait_for_url(re.compile(r"/runs/[0-9a-f-]{36}"))


def test_an_edit_is_seen_in_the_graph_and_materialized(server: DagsterDev, page: Page) -> None:
    page.goto("/locations/agar_pipeline.definitions/asset-groups/data/lineage")
    for asset in ("snapshot", "split", "coco_cache", "bbox_report"):
        api.expect(page.get_by_text(asset, exact=True).filter(visible=True).first).to_be_visible()
    name = Path(edit_samples(server.home, "small", move_first_box)).name
    page.goto("/assets/snapshot")
    api.expect(page.get_by_text(re.compile("Unsynced|Stale|upstream data", re.IGNORECASE)).first).to_be_visible()
    page.get_by_role("button", name="Materialize").first.click()
    api.expect(page.get_by_text(f"1 box changed in 1 image (1 moved): {name}")).to_be_visible()


def test_metadata_and_plots_are_read_on_an_asset_page(page: Page) -> None:
    page.goto("/assets/bbox_report")
    api.expect(page.get_by_text("pipeline/small.yaml").first).to_be_visible()
    api.expect(page.get_by_text("out_of_bounds_ratio").first).to_be_visible()
    page.get_by_text("[Show Markdown]").first.click()
    plots = page.locator("img[src^='data:image']")
    api.expect(plots).to_have_count(4)
    assert min(plots.evaluate_all("all => all.map(plot => plot.naturalWidth)")) > 300, "the browser draws them"


def test_the_report_is_a_link(server: DagsterDev, page: Page) -> None:
    page.goto("/assets/bbox_report")
    address = page.locator("a[href*='/logs/reports/']").first.get_attribute("href")
    root = Store(server.home).open_latest(Key("bbox_report")).root
    assert page.request.get(str(address)).body() == (root / "report.html").read_bytes()


def test_more_devices_than_there_are_are_refused_in_words(page: Page) -> None:
    streamed: list[str] = []
    page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: streamed.append(str(frame))))
    launch_training(page, devices=4096)
    api.expect(page.get_by_text("Failure", exact=True).first).to_be_visible()
    api.expect(page.get_by_text(re.compile("trainer.devices=4096 is more than this machine")).first).to_be_visible()
    api.expect(page.get_by_text("next step", exact=True).first).to_be_visible()
    assert any("is more than this machine" in frame for frame in streamed), "the log comes by a WebSocket"


def test_a_training_shows_how_far_it_is_and_is_terminated(server: DagsterDev, page: Page) -> None:
    launch_training(page, devices=1)
    run = page.url
    page.goto("/runs")
    api.expect(page.get_by_text(re.compile(r"epoch \d+ · step [\d,]+ of")).first).to_be_visible()
    page.goto(run)
    page.get_by_role("button", name="Terminate").click()
    page.get_by_role("dialog").get_by_role("button", name=re.compile("Yes|Terminate")).last.click()
    wait_for(lambda: not trainers(server.home), 60, lambda: f"still there: {trainers(server.home)}")
    page.reload()
    api.expect(page.get_by_text("Canceled", exact=True).first).to_be_visible()
