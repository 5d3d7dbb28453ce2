"""Draws colonies into an image: outline, colour and shading of each species.

Colours are float32 RGB in 0…255. Lengths are pixels; `unit` is the length of one pixel of a 320-px image.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.float32]
Rng = np.random.Generator

REFERENCE_SIZE_PX = 320


@dataclass(frozen=True)
class Look:
    """Appearance of one species; values are drawn from the ranges once per plate, and varied per colony."""

    diameter: tuple[float, float]
    """Pixels in a 320-px image."""
    rgb_from: tuple[int, int, int]
    rgb_to: tuple[int, int, int]
    opacity: tuple[float, float]
    lobes: float
    """Amplitude of the outline's waves, as a share of the radius."""
    dome: float
    """Strength of the shading across the colony: 0 flat, 1 a half sphere."""
    gloss: float
    """Strength of the highlight."""
    rim: float
    """Brightness of the edge relative to the middle: above 0 translucent and brighter, below 0 darker."""
    grain: float
    """Standard deviation of the surface texture, grey levels."""


LOOKS = {
    "S.aureus": Look((11, 16), (206, 153, 67), (238, 202, 126), (0.95, 1.0), 0.016, 0.38, 0.8, -0.14, 1.5),
    "C.albicans": Look((14, 20), (226, 222, 210), (248, 246, 240), (0.96, 1.0), 0.02, 0.24, 0.04, -0.10, 4.5),
    "E.coli": Look((20, 34), (140, 130, 108), (186, 174, 146), (0.62, 0.84), 0.055, 0.16, 0.18, 0.16, 3.0),
}


@dataclass(frozen=True)
class Colony:
    """One colony to be drawn: its species, centre and radius in pixels, and what varies between colonies."""

    class_name: str
    x: float
    y: float
    radius: float
    waves: tuple[tuple[int, float, float], ...] = ()
    """(count, amplitude as a share of the radius, phase) of each wave in the outline."""

    def outline(self, theta: Pixels) -> Pixels:
        """Return the distance of the edge from the middle at each angle, pixels."""
        share = np.ones_like(theta)
        for count, amplitude, phase in self.waves:
            share += amplitude * np.cos(count * theta + phase)
        return self.radius * share

    def box_xywh(self) -> tuple[int, int, int, int]:
        """Return the box around the visible edge, whole pixels.

        >>> Colony("S.aureus", x=20.0, y=30.0, radius=5.0).box_xywh()
        (15, 25, 10, 10)
        """
        theta = np.linspace(0, 2 * np.pi, 181, dtype=np.float32)
        edge = self.outline(theta)
        xs, ys = self.x + edge * np.cos(theta), self.y + edge * np.sin(theta)
        x1, y1, x2, y2 = round(float(xs.min())), round(float(ys.min())), round(float(xs.max())), round(float(ys.max()))
        return x1, y1, max(1, x2 - x1), max(1, y2 - y1)


def paint_colony(rng: Rng, photo: Pixels, colony: Colony, unit: float, light: float, tint: float, dark: bool) -> None:
    """Draw a colony into `photo`, (size, size, 3).

    Args:
        light: Direction that the light comes from, radians.
        tint: Position of this plate's colour between the two colours of the species, 0…1.
        dark: True for light from above on a black table; False for light through the dish from below.
    """
    look, size_px = LOOKS[colony.class_name], len(photo)
    reach = colony.radius * 1.25 + 4 * unit
    x1, x2 = max(0, int(colony.x - reach)), min(size_px, int(colony.x + reach) + 1)
    y1, y2 = max(0, int(colony.y - reach)), min(size_px, int(colony.y + reach) + 1)
    dx = np.arange(x1, x2, dtype=np.float32)[None, :] + np.float32(0.5 - colony.x)
    dy = np.arange(y1, y2, dtype=np.float32)[:, None] + np.float32(0.5 - colony.y)
    patch = photo[y1:y2, x1:x2]
    lx, ly = np.float32(np.cos(light)), np.float32(np.sin(light))
    distance = np.sqrt(dx * dx + dy * dy)
    edge = colony.outline(np.arctan2(dy, dx))
    share = np.minimum(distance / edge, np.float32(1.6))

    # The colony's shadow on the agar, on the side away from the light.
    away = np.sqrt((dx + lx * unit * 1.3) ** 2 + (dy + ly * unit * 1.3) ** 2)
    shadow = np.clip((edge + 1.2 * unit - away) / (2.6 * unit), 0, 1) * np.float32(0.1 + 0.25 * look.dome)
    patch *= 1 - shadow[..., None]

    toward = ((dx * lx + dy * ly) / np.float32(colony.radius)).astype(np.float32)
    surface = _shade(rng, look, tint, dark, share, toward)
    spot = ((dx - lx * colony.radius * 0.38) ** 2 + (dy - ly * colony.radius * 0.38) ** 2) / (colony.radius * 0.24) ** 2
    surface += (np.exp(-spot) * np.float32(look.gloss * 110))[..., None]
    surface += (rng.standard_normal(distance.shape, dtype=np.float32) * np.float32(look.grain))[..., None]

    softness = np.float32((1.5 if look.rim > 0 else 1.1) * max(unit, 0.8))
    cover = np.clip((edge - distance) / softness + np.float32(0.5), 0, 1) * np.float32(rng.uniform(*look.opacity))
    patch += (surface - patch) * cover[..., None]


def _shade(rng: Rng, look: Look, tint: float, dark: bool, share: Pixels, toward: Pixels) -> Pixels:
    """Return the colour of the surface without highlights, (height, width, 3).

    Args:
        share: Distance from the middle divided by the distance of the edge.
        toward: Position along the light's direction, in radii.
    """
    low, high = np.array(look.rgb_from, np.float32), np.array(look.rgb_to, np.float32)
    mix = float(np.clip(tint + rng.normal(0, 0.12), 0, 1))
    exposure = rng.uniform(0.96, 1.04) * (0.9 if dark else 1.0)
    shade = 1 + np.float32(look.dome * 0.4) * toward * share
    if look.rim <= 0:
        shade += np.float32(look.rim) * share**6
    elif dark:  # a thin edge scatters the side light; a spreading colony is densest in its middle, where growth began
        shade += np.float32(look.rim) * share**6 - np.float32(0.16) * np.clip(1 - share * 1.5, 0, 1)
    else:  # light from below: a translucent colony appears grey with a darker line around it
        exposure *= 0.86
        shade += np.float32(0.10) - np.float32(0.12) * np.clip(1 - share * 1.5, 0, 1) - np.float32(0.13) * share**10
    return (low + (high - low) * np.float32(mix)) * np.float32(exposure) * shade[..., None]
