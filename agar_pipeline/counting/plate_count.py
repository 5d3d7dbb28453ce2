"""One plate of a dilution series: what was put on it, and what was counted."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PlateCount:
    """A plate of a sample: what was put on it, and what was counted."""

    dilution: float
    """Share of the sample in the suspension, in (0, 1]."""
    volume_ml: float
    """Of the suspension on the plate."""
    count: int | None
    """Colonies; None: the photo could not be read."""
    low: int | None = None
    """Lower end of the interval of the count; None: it has none."""
    high: int | None = None

    @property
    def sample_ml(self) -> float:
        """How much of the sample is on the plate, V · d."""
        return self.volume_ml * self.dilution

    @property
    def colonies(self) -> int:
        """The count; 0 for a plate that could not be read."""
        return self.count or 0

    @property
    def least(self) -> int:
        return self.colonies if self.low is None else self.low

    @property
    def most(self) -> int:
        return self.colonies if self.high is None else self.high
