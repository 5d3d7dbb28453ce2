"""Published results on AGAR, and whether our metrics may be compared with them.

Here: published figures with their source, and one plain sentence. Not here: our own figures (`scoring`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agar_pipeline.config import spelling_of
from agar_pipeline.text.plurals import plural

SPECIES = ("S. aureus", "B. subtilis", "P. aeruginosa", "E. coli", "C. albicans")


@dataclass(frozen=True)
class Published:
    """One published result."""

    source: str
    data: str
    map_50_95: float
    count_mae: float | None = None


PUBLISHED = (
    Published("AGAR paper, its best (cited second-hand)", "lower resolution", 0.594),
    Published("Faster R-CNN R101 (Gama 2026)", "lower resolution", 0.631),
    Published("YOLOv8m (Gama 2026)", "lower resolution", 0.690),
    Published("Pawłowski 2022", "higher resolution", 0.520, 4.31),
)
SEED_NOISE = 0.0036
"""Change of map_50_95 from one training seed to another, on the lower-resolution part."""


def compare_protocol(class_names: Sequence[str], num_images: int) -> tuple[bool, str]:
    """Return whether our metrics may be compared with the published ones, and why, in one or two sentences."""
    wanted = {spelling_of(name) for name in SPECIES}
    missing = [name for name in SPECIES if spelling_of(name) not in {spelling_of(own) for own in class_names}]
    if len(missing) == len(wanted):
        return False, "Not comparable: these classes are not AGAR's five species, so no published figure applies."
    if missing:
        lack = f"and these classes lack {', '.join(missing)}."
        return False, f"Not comparable: the published figures are means over five species, {lack}"
    extra = [name for name in class_names if spelling_of(name) not in wanted]
    sentences = ["Comparable with care: the classes hold AGAR's five species, but the published figures come from "]
    sentences.append("the authors' own lists of photos, and these figures from your split")
    if extra:
        sentences.append(f"; and your mean covers {', '.join(extra)} too")
    sentences.append(
        f". They are of {plural(num_images, 'photo')}; another training seed alone changes map_50_95 by about "
        f"±{SEED_NOISE}."
    )
    return True, "".join(sentences)
