"""Draws one plate: dish, agar, lettering, light and sensor noise.

Colours are float32 RGB in 0…255. Lengths are pixels; `unit` is the length of one pixel of a 320-px image.
Not here: which colonies grow where, files (`generate`), drawing colonies (`colony_paint`).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from agar_pipeline.plates.colony_paint import LOOKS, REFERENCE_SIZE_PX, Colony, Pixels, Rng, paint_colony

INKS_ON_DARK = ((222, 222, 214), (6, 6, 8), (150, 176, 226), (214, 92, 84))
INKS_ON_BRIGHT = ((24, 26, 34), (28, 44, 128), (132, 26, 30), (18, 74, 50))


@dataclass(frozen=True)
class Dish:
    """Position and size of the dish, pixels from the top left corner."""

    size_px: int
    center_x: float
    center_y: float
    radius: float
    """Radius of the outer wall."""
    agar_radius: float

    @property
    def unit(self) -> float:
        return self.size_px / REFERENCE_SIZE_PX


def paint_plate(rng: Rng, dish: Dish, background: str, colonies: list[Colony]) -> NDArray[np.uint8]:
    """Draw the image of a dish, (size, size, 3) RGB.

    Args:
        background: "dark" (black table, light from the side) or "bright" (light table).
    """
    light = float(rng.uniform(0, 2 * np.pi))
    photo = _paint_dish(rng, dish, background == "dark", light)
    _write_on_dish(rng, photo, dish, INKS_ON_DARK if background == "dark" else INKS_ON_BRIGHT)
    _sprinkle_dust(rng, photo, dish)
    _paint_reflection(rng, photo, dish, light)
    tints = {name: rng.uniform(0, 1) for name in LOOKS}
    for colony in colonies:
        paint_colony(rng, photo, colony, dish.unit, light, tints[colony.class_name], background == "dark")
    return _expose(rng, photo)


def _smooth_noise(rng: Rng, size_px: int, cells: int) -> Pixels:
    """Return noise with a standard deviation near 1 and `cells` blobs per side, (size, size)."""
    coarse = rng.standard_normal((cells, cells)).astype(np.float32)
    return np.asarray(Image.fromarray(coarse).resize((size_px, size_px), Image.Resampling.BICUBIC), dtype=np.float32)


def _between(rng: Rng, low: tuple[int, int, int], high: tuple[int, int, int]) -> Pixels:
    a, b = np.array(low, np.float32), np.array(high, np.float32)
    return (a + (b - a) * np.float32(rng.uniform()) + rng.uniform(-4, 4, 3)).astype(np.float32)


def _polar(dish: Dish) -> tuple[Pixels, Pixels, Pixels]:
    """Return the unit vector (x, y) from the middle of the dish to each pixel, and the distance; each (size, size)."""
    axis = np.arange(dish.size_px, dtype=np.float32) + np.float32(0.5)
    dx, dy = axis[None, :] - np.float32(dish.center_x), axis[:, None] - np.float32(dish.center_y)
    distance = np.sqrt(dx * dx + dy * dy)
    safe = np.maximum(distance, np.float32(1e-3))
    return dx / safe, dy / safe, distance


def _paint_dish(rng: Rng, dish: Dish, dark: bool, light: float) -> Pixels:
    unit_x, unit_y, distance = _polar(dish)
    if dark:
        table, agar = _between(rng, (10, 10, 12), (38, 38, 42)), _between(rng, (74, 64, 42), (112, 100, 74))
        wall, shine = _between(rng, (46, 46, 48), (70, 70, 72)), 150.0
    else:
        table, agar = _between(rng, (196, 198, 200), (232, 232, 230)), _between(rng, (176, 158, 112), (206, 192, 154))
        wall, shine = _between(rng, (160, 158, 150), (188, 186, 180)), 62.0

    # What depends only on the radius is computed once per quarter pixel and looked up, to avoid an exp per pixel.
    radii = np.arange(int(dish.size_px * 4 * 1.5), dtype=np.float32) / 4
    unit, outer, inner = dish.unit, dish.radius, dish.agar_radius

    def ring(at: float, width: float) -> Pixels:
        return np.exp(-(((radii - at) / (width * unit)) ** 2))

    def inside(at: float, softness: float = 0.8) -> Pixels:
        return np.clip((at - radii) / (softness * unit) + 0.5, 0, 1)

    profile = np.repeat(table[None], len(radii), axis=0)
    profile *= 1 - (0.5 if dark else 0.28) * np.exp(-np.maximum(radii - outer, 0) / (7 * unit))[:, None]
    profile += (wall - profile) * inside(outer)[:, None]
    bowl = agar * (1 - 0.13 * (radii / inner) ** 4)[:, None]
    profile += (bowl - profile) * inside(inner)[:, None]
    edges = ring(outer - 1, 1.1) * 0.6 + ring(inner + 1.5, 1.0) * 0.5 + ring((outer + inner) / 2, 0.8) * 0.25
    profile += (edges * shine * (0.45 if dark else 0.6) - ring(inner - 1.5, 2.0) * (16 if dark else 30))[:, None]
    profile -= (ring(outer + 0.8, 0.9) * (0 if dark else 70))[:, None]
    glint = 1.2 * ring(outer - 2.5, 1.7) + 0.9 * ring(inner + 2, 1.3) + 0.4 * ring(inner - 4, 1.6)

    slot = (distance * 4).astype(np.int32)
    photo = profile.astype(np.float32)[slot]
    toward = unit_x * np.float32(np.cos(light)) + unit_y * np.float32(np.sin(light))
    side = unit_x * np.float32(np.cos(light + 2.3)) + unit_y * np.float32(np.sin(light + 2.3))
    lit = np.clip(toward, 0, 1) ** 6 + 0.7 * np.clip(-toward, 0, 1) ** 16 + 0.8 * np.clip(side, 0, 1) ** 64
    photo += (glint.astype(np.float32)[slot] * lit * np.float32(shine))[..., None]

    gradient = toward * distance / np.float32(dish.radius) * np.float32(rng.uniform(3, 9))
    cloud = _smooth_noise(rng, dish.size_px, 5) * 2 + _smooth_noise(rng, dish.size_px, 48) * 0.9
    in_agar = inside(inner).astype(np.float32)[slot]
    photo += (gradient + cloud * (in_agar + np.float32(0.4)))[..., None]
    return photo


def _write_on_dish(rng: Rng, photo: Pixels, dish: Dish, inks: tuple[tuple[int, int, int], ...]) -> None:
    """Draw marker writing along the rim, on the underside of the dish: sample number, medium, date, dilution."""
    words = [
        f"{rng.choice(['SA', 'EC', 'CA', 'MX', 'K'])}-{rng.integers(1, 400)}",
        str(rng.choice(["TSA", "PCA", "SDA", "NA", "TSA 37", "24h", "48h"])),
        f"{rng.integers(1, 29):02d}.{rng.integers(1, 13):02d}",
        f"10-{rng.integers(1, 7)}",
    ]
    start = float(rng.uniform(0, 2 * np.pi))
    ink = np.array(inks[rng.integers(len(inks))], np.float32)
    sheet = Image.new("L", (dish.size_px, dish.size_px))
    for word in words[: int(rng.integers(1, 4))]:
        height = float(rng.uniform(12, 17)) * dish.unit
        _write_arc(rng, sheet, dish, word, start, height)
        start += len(word) * 0.75 * height / dish.agar_radius + float(rng.uniform(0.15, 1.2))
    cover = np.asarray(sheet, dtype=np.float32)[..., None] / 255 * np.float32(rng.uniform(0.5, 0.8))
    photo += (ink - photo) * cover


def _write_arc(rng: Rng, sheet: Image.Image, dish: Dish, word: str, start: float, height: float) -> None:
    """Draw each letter upright on the circle, with small random deviations as in handwriting."""
    fine = 3  # factor by which letters are drawn larger, so that strokes can be fractions of a pixel wide
    font = ImageFont.load_default(height * fine)
    stroke = max(1, round(height * fine * 0.025))
    side = int(height * 2)
    reach = dish.agar_radius - height * 0.75
    slant, angle = float(rng.uniform(-0.05, 0.3)), start
    for letter in word:
        tile = Image.new("L", (side * fine, side * fine))
        middle = side * fine / 2
        ImageDraw.Draw(tile).text((middle, middle), letter, 255, font, anchor="mm", stroke_width=stroke)
        lean = (1, slant, -slant * middle, 0, 1, 0)
        tile = tile.transform(tile.size, Image.Transform.AFFINE, lean, Image.Resampling.BILINEAR)
        turn = -np.degrees(angle) - 90 + float(rng.uniform(-9, 9))
        tile = tile.rotate(turn, Image.Resampling.BICUBIC).reduce(fine)
        off = reach + float(rng.uniform(-0.08, 0.08)) * height
        x, y = dish.center_x + off * np.cos(angle) - side / 2, dish.center_y + off * np.sin(angle) - side / 2
        sheet.paste(255, (round(x), round(y)), tile)
        angle += (font.getlength(letter) / fine + 0.14 * height) / reach


def _sprinkle_dust(rng: Rng, photo: Pixels, dish: Dish) -> None:
    """Draw specks that are much smaller than the smallest colony: bubbles, lint, ends of scratches."""
    for _ in range(int(rng.integers(2, 14))):
        angle, off = rng.uniform(0, 2 * np.pi), dish.agar_radius * np.sqrt(rng.uniform(0, 1)) * 0.97
        x, y = int(dish.center_x + off * np.cos(angle)), int(dish.center_y + off * np.sin(angle))
        radius = float(rng.uniform(0.5, 1.0)) * dish.unit
        reach = int(radius) + 1
        axis = np.arange(-reach, reach + 1, dtype=np.float32)
        speck = np.clip(radius + 0.5 - np.hypot(axis[:, None], axis[None, :]), 0, 1) * rng.choice([-34, -18, 22, 36])
        photo[y - reach : y + reach + 1, x - reach : x + reach + 1] += speck.astype(np.float32)[..., None]


def _paint_reflection(rng: Rng, photo: Pixels, dish: Dish, light: float) -> None:
    """Draw the blurred reflection of a window or lamp in the wet surface."""
    small = 80
    mask = Image.new("L", (small, small))
    along, across = float(rng.uniform(9, 18)), float(rng.uniform(3, 7))
    x = dish.center_x / dish.size_px * small + 21 * np.cos(light)
    y = dish.center_y / dish.size_px * small + 21 * np.sin(light)
    turn = light + np.pi / 2
    corners = [(along, across), (-along, across), (-along, -across), (along, -across)]
    points = [(x + u * np.cos(turn) - v * np.sin(turn), y + u * np.sin(turn) + v * np.cos(turn)) for u, v in corners]
    ImageDraw.Draw(mask).polygon([(float(px), float(py)) for px, py in points], fill=255)
    soft = mask.reduce(4).resize((dish.size_px, dish.size_px), Image.Resampling.BICUBIC)
    photo += (np.asarray(soft, dtype=np.float32) * np.float32(rng.uniform(0.02, 0.13)))[..., None]


def _expose(rng: Rng, photo: Pixels) -> NDArray[np.uint8]:
    """Apply white balance, exposure and sensor noise; return uint8 pixels."""
    balance = (rng.uniform(0.9, 1.06) * rng.uniform(0.982, 1.018, 3)).astype(np.float32)
    photo *= balance
    noise = rng.standard_normal(photo.shape[:2], dtype=np.float32) * np.float32(rng.uniform(1.2, 3.2))
    photo += noise[..., None]
    return np.clip(photo, 0, 255).astype(np.uint8)
