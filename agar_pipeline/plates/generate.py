"""Generates images of agar plates in AGAR's own format, `N.jpg` beside `N.json`, or with a COCO file.

Here: which colonies grow where, and the files. Not here: drawing (`plate_paint`, `colony_paint`).
"""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from agar_pipeline.coco.columns import CocoColumns, read_coco
from agar_pipeline.files.disk import replace_file
from agar_pipeline.plates.colony_paint import LOOKS, REFERENCE_SIZE_PX, Colony, Rng
from agar_pipeline.plates.plate_paint import Dish, paint_plate

CLASS_NAMES = tuple(LOOKS)
GENERATOR_VERSION = 1
"""Raise it if the same arguments give other bytes; folders written with an older version are then written again."""
MARKER_NAME = ".plates-complete"
"""It must not match `*.json`, because readers take every JSON file for an annotation."""
EMPTY_EVERY = 16
TOUCHING_SHARE = 0.09
"""Share of colonies placed against a neighbour on purpose; with contacts by chance about 20 % touch another."""
COVERED_SHARE_MAX = 0.34
"""Maximum covered share of the agar's area. Above it all colonies are shrunk, as they grow on a crowded plate."""


def generate_plates(
    out_dir: Path,
    count: int,
    size_px: int = 320,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
    colonies_per_plate: tuple[int, int] | None = None,
) -> int:
    """Write plates 1…count, and return how many were written.

    If the folder was written with the same arguments, only missing files are written, so that a plate that a person
    edited is kept. Plate i depends only on (seed, i, size_px, colonies_per_plate). Files beyond `count` are not
    removed.

    Args:
        progress: Called after each plate with the number of plates done so far.
        colonies_per_plate: Least and most colonies, both included, without the empty plates of the default. Very
            crowded plates may have fewer if there is no room left.

    Raises:
        ValueError: an argument out of range.
    """
    if count < 0 or seed < 0 or size_px < 64:
        raise ValueError(f"count={count}, seed={seed}, size_px={size_px}: use count ≥ 0, seed ≥ 0 and size_px ≥ 64")
    if colonies_per_plate is not None and not 0 <= colonies_per_plate[0] <= colonies_per_plate[1]:
        raise ValueError(f"colonies_per_plate={colonies_per_plate}: give (least, most) with 0 ≤ least ≤ most")
    out_dir.mkdir(parents=True, exist_ok=True)
    marker = out_dir / MARKER_NAME
    made_with = {
        "version": GENERATOR_VERSION,
        "count": count,
        "size_px": size_px,
        "seed": seed,
        "colonies_per_plate": list(colonies_per_plate) if colonies_per_plate else None,
    }
    wanted = json.dumps(made_with).encode()
    numbers = range(1, count + 1)
    paths = {n: (out_dir / f"{n}.jpg", out_dir / f"{n}.json") for n in numbers}
    if not marker.exists() and not any(path.exists() for pair in paths.values() for path in pair):
        _write(marker, wanted)  # files found later are then known to be plates of these arguments, or edited ones
    as_before = _read(marker) == wanted
    if not as_before:
        marker.unlink(missing_ok=True)  # after an interruption the old marker would be wrong
    written = 0
    for number, pair in paths.items():
        if not (as_before and all(path.is_file() for path in pair)):
            contents = zip(pair, render_plate(number, size_px, seed, colonies_per_plate), strict=True)
            wanting = [(path, content) for path, content in contents if not (as_before and path.is_file())]
            written += sum(_write(path, content) for path, content in wanting) > 0
        if progress is not None:
            progress(number)
    _write(marker, wanted)
    return written


def render_plate(
    number: int, size_px: int = 320, seed: int = 0, colonies_per_plate: tuple[int, int] | None = None
) -> tuple[bytes, bytes]:
    """Return JPEG and JSON of one plate."""
    rng = np.random.default_rng([seed, number])
    dish = _place_dish(rng, size_px)
    background = "dark" if rng.uniform() < 0.5 else "bright"
    colonies = _grow_colonies(rng, dish, _draw_colony_count(rng, number + seed, colonies_per_plate))
    pixels = paint_plate(rng, dish, background, colonies)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=92)

    labels = []
    for index, colony in enumerate(colonies, start=1):
        x, y, width, height = colony.box_xywh()
        labels.append({"id": index, "class": colony.class_name, "x": x, "y": y, "width": width, "height": height})
    annotation = {
        "sample_id": number,
        "background": background,
        "classes": sorted({colony.class_name for colony in colonies}),
        "colonies_number": len(colonies),
        "labels": labels,
    }
    return buffer.getvalue(), json.dumps(annotation, indent=1).encode()


def _place_dish(rng: Rng, size_px: int) -> Dish:
    radius = size_px * float(rng.uniform(0.462, 0.482))
    slack = size_px / 2 - radius - 0.008 * size_px
    x, y = (size_px / 2 + float(rng.uniform(-slack, slack)) for _ in range(2))
    return Dish(size_px, x, y, radius, radius * float(rng.uniform(0.925, 0.945)))


def _draw_colony_count(rng: Rng, turn: int, colonies_per_plate: tuple[int, int] | None) -> int:
    """Draw the number of colonies.

    The default is 0 on every 16th plate, else log-normal with a median near 10, limited to 1…90; a few are above 60.
    """
    if colonies_per_plate is not None:
        return int(rng.integers(colonies_per_plate[0], colonies_per_plate[1], endpoint=True))
    if turn % EMPTY_EVERY == 0:
        return 0
    return int(np.clip(np.exp(rng.normal(np.log(10.0), 0.85)), 1, 90))


def _grow_colonies(rng: Rng, dish: Dish, count: int) -> list[Colony]:
    """Place colonies of one to three species inside the wall of the dish; some touch another colony."""
    species_count = int(rng.choice([1, 2, 3], p=[0.35, 0.35, 0.3]))
    species = [str(name) for name in rng.choice(CLASS_NAMES, species_count, replace=False)]
    shares = rng.dirichlet(np.full(species_count, 3.0))
    names = [species[int(i)] for i in rng.choice(species_count, count, p=shares)]
    radii = np.array([_draw_radius(rng, name) for name in names]) * (dish.size_px / REFERENCE_SIZE_PX)
    covered = float(np.sum(radii**2)) / dish.agar_radius**2
    radii *= min(1.0, float(np.sqrt(COVERED_SHARE_MAX / max(covered, 1e-9))))

    colonies: list[Colony] = []
    spots = np.empty((count, 3))  # x, y, radius of the placed colonies
    for name, radius in zip(names, radii, strict=True):
        spot = _find_spot(rng, dish, spots[: len(colonies)], float(radius))
        if spot is None:
            continue
        spots[len(colonies)] = (*spot, radius)
        lobes = LOOKS[name].lobes
        waves = tuple(
            (k, lobes / k**0.5 * float(rng.normal(0, 0.8)), float(rng.uniform(0, 2 * np.pi))) for k in (2, 3, 4, 6)
        )
        colonies.append(Colony(name, *spot, float(radius), waves))
    return colonies


def _draw_radius(rng: Rng, name: str) -> float:
    """Draw a radius from the species' range, the middle more often than the ends; pixels in a 320-px image."""
    low, high = LOOKS[name].diameter
    return float(low + (high - low) * rng.beta(2, 2)) / 2


def _find_spot(rng: Rng, dish: Dish, spots: np.ndarray, radius: float) -> tuple[float, float] | None:
    """Return the middle of a new colony: away from the others or, for some, against one; None if there is no room."""
    beside = len(spots) > 0 and rng.uniform() < TOUCHING_SHARE
    room = dish.agar_radius - radius * 1.15 - 3 * dish.unit
    for attempt in range(200):
        angle = float(rng.uniform(0, 2 * np.pi))
        if beside and attempt < 40:
            host = spots[int(rng.integers(len(spots)))]
            off = (host[2] + radius) * float(rng.uniform(0.86, 0.99))
            x, y = host[0] + off * np.cos(angle), host[1] + off * np.sin(angle)
            nearest_allowed = 0.86
        else:
            off = room * float(np.sqrt(rng.uniform()))
            x, y = dish.center_x + off * np.cos(angle), dish.center_y + off * np.sin(angle)
            nearest_allowed = 1.12 if attempt < 120 else 0.9
        if np.hypot(x - dish.center_x, y - dish.center_y) > room:
            continue
        gaps = np.hypot(spots[:, 0] - x, spots[:, 1] - y) - nearest_allowed * (spots[:, 2] + radius)
        if len(spots) == 0 or gaps.min() >= -1e-6:
            return float(x), float(y)
    return None


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _write(path: Path, content: bytes) -> bool:
    """Write by rename, so that no reader sees a partial file; return False if the file has this content already."""
    if _read(path) == content:
        return False
    replace_file(path, content)
    return True


def generate_coco(folder: Path, count: int, size_px: int, seed: int = 0) -> CocoColumns:
    """Write plates 1…count and `plates.json` with their boxes; the photos are in the same folder."""
    generate_plates(folder, count, size_px, seed, colonies_per_plate=(3, 12))
    annotations: list[dict[str, Any]] = []
    for number in range(1, count + 1):
        for label in json.loads((folder / f"{number}.json").read_text())["labels"]:
            box = [label[key] for key in ("x", "y", "width", "height")]
            category = CLASS_NAMES.index(label["class"]) + 1
            row = {"id": len(annotations) + 1, "image_id": number, "category_id": category, "iscrowd": 0}
            annotations.append({**row, "bbox": box, "area": box[2] * box[3]})
    numbers = range(1, count + 1)
    content = {
        "images": [{"id": n, "file_name": f"{n}.jpg", "width": size_px, "height": size_px} for n in numbers],
        "annotations": annotations,
        "categories": [{"id": i, "name": name} for i, name in enumerate(CLASS_NAMES, start=1)],
    }
    path = folder / "plates.json"
    path.write_text(json.dumps(content))
    return read_coco(path)
