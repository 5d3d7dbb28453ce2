"""The README's two pictures, from this checkout's own demo: `make pictures`, where there is a Chromium.

Here: the graph as Dagster's web interface draws it, and a plate of the demo with what its detector finds.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from PIL import Image
from playwright.sync_api import Error, sync_playwright

PICTURES = Path(__file__).resolve().parent / "pictures"
BIN = Path(sys.executable).parent
PORT = 3219
ADDRESS = f"http://127.0.0.1:{PORT}"
START_S = 120
MARGIN_PX = 22
PLATE_SIDE_PX = 640


def main() -> None:
    from agar_pipeline.artifacts import CocoCache, TrainingRun
    from agar_pipeline.coco.columns import read_coco
    from agar_pipeline.config import agar_home
    from agar_pipeline.store import Key, Store

    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        sys.exit("there is no chromium on this machine: install one, then `make pictures`")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's `&` has it ignored, as would the server
    os.environ["AGAR_PIPELINE"] = "demo"
    subprocess.run([BIN / "agar", "demo"], check=True)
    store = Store(agar_home())
    training: TrainingRun = store.open_latest(Key("training_run", "demo"))
    cache: CocoCache = store.open_latest(Key("coco_cache"))
    take_plate(training.best_checkpoint, cache.images_dir / read_coco(cache.json_path("val")).file_names[0])
    take_graph(chromium)
    print(f"look at {PICTURES}")


def take_plate(checkpoint: Path, photo: Path) -> None:
    """What `agar predict` draws of a photo that the training did not see."""
    with tempfile.TemporaryDirectory() as out_dir:
        predict = [BIN / "agar", "predict", "--checkpoint", checkpoint, photo, "--out-dir", out_dir]
        subprocess.run(predict, check=True)
        [overlay] = Path(out_dir).rglob("*.jpg")
        with Image.open(overlay) as picture:
            picture.thumbnail((PLATE_SIDE_PX, PLATE_SIDE_PX))
            picture.save(PICTURES / "plate.jpg", quality=85)


def take_graph(chromium: str) -> None:
    """All groups opened, cut to the graph."""
    server = subprocess.Popen([BIN / "dagster", "dev", "-p", str(PORT)], start_new_session=True)
    try:
        _wait_for_server()
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1900, "height": 900}, base_url=ADDRESS)
            page.goto("/assets/leaderboard?view=lineage&lineageScope=upstream&lineageDepth=10")
            page.get_by_text("training_run").first.wait_for()
            page.wait_for_timeout(3000)
            names = (page.get_by_text(name, exact=True) for name in ("fiftyone_dataset", "data", "leaderboard", "demo"))
            boxes = [box for name in names if (box := name.last.bounding_box())]
            left, top = (min(box[side] for box in boxes) - MARGIN_PX for side in ("x", "y"))
            right = max(box["x"] + box["width"] for box in boxes) + 2 * MARGIN_PX
            bottom = max(box["y"] for box in boxes) + 7 * MARGIN_PX  # the last name is the title of a group
            page.screenshot(
                path=PICTURES / "graph.png", clip={"x": left, "y": top, "width": right - left, "height": bottom - top}
            )
            browser.close()
    finally:
        os.killpg(server.pid, signal.SIGINT)
        server.wait()


def _wait_for_server() -> None:
    for _ in range(START_S):
        try:
            urllib.request.urlopen(f"{ADDRESS}/server_info", timeout=5).close()
        except OSError:
            time.sleep(1)
        else:
            return
    raise Error(f"no server at {ADDRESS} after {START_S} s")


if __name__ == "__main__":
    main()
