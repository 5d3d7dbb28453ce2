"""From evidence to the probability of an error, for each kind alike, so that one ranking holds over all kinds.

The evidence of all candidates is a mixture: a share π of them are errors. Which evidence errors leave is learnt from
trials (`trial_errors`). The largest π that fits is min over t of P(evidence ≥ t) / P(evidence ≥ t of an error)
(Blanchard, Lee, Scott, "Semi-Supervised Novelty Detection", JMLR 2010). The probability of an error is then π ·
f(evidence of an error) / f(evidence), made non-decreasing. π is an upper limit: colonies that the model cannot see look
like boxes too many. Here: these formulas, and their interval. Not here: the evidence (`evidence`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import isotonic_regression

LEAST_TAIL = 0.25
"""π is estimated from tails with at least this share of the trial errors; smaller tails hold too few candidates."""
BINS = 100


@dataclass(frozen=True)
class Mixture:
    """The evidence, in B equal bins of [0, 1], of the candidates and the trial errors of one kind, image by image."""

    seen: np.ndarray
    """(I, B) number of candidates in each image and bin."""
    erring: np.ndarray
    """(I, B) number of trial errors."""

    @classmethod
    def of(
        cls, evidence: np.ndarray, images: np.ndarray, of_errors: np.ndarray, images_of_errors: np.ndarray, count: int
    ) -> Mixture:
        """Count the evidence of N candidates and E trial errors; `images` are rows in 0 … `count` − 1."""
        return cls(count_bins(evidence, images, count), count_bins(of_errors, images_of_errors, count))

    def odds(self, weights: np.ndarray | None = None) -> np.ndarray:
        """(B,) non-decreasing number of errors for each candidate, which may exceed 1 by chance.

        With (I,) weights, each image counts that often.
        """
        seen, erring = (of.sum(axis=0) if weights is None else weights @ of for of in (self.seen, self.erring))
        if not erring.sum() or not seen.sum():
            return np.zeros(BINS)
        erring = erring / erring.sum()
        tails = np.cumsum(erring[::-1])[::-1]
        seen_tails = np.cumsum(seen[::-1])[::-1]
        seen_tails = (seen_tails + np.sqrt(seen_tails) + 1) / seen.sum()
        large = tails >= LEAST_TAIL
        share = min(1.0, (seen_tails[large] / tails[large]).min())
        expected = share * seen.sum() * erring
        both = expected + seen
        rising = isotonic_regression(expected / np.maximum(both, 1e-12), weights=np.maximum(both, 1e-6)).x
        return rising / np.maximum(1 - rising, 1e-6)


def count_bins(evidence: np.ndarray, images: np.ndarray, count: int) -> np.ndarray:
    """(count, B) how many have evidence in each bin, image by image; 0 is no evidence, and is in the first bin."""
    counts = np.zeros((count, BINS))
    np.add.at(counts, (images, bins_of(evidence)), 1)
    return counts


def bins_of(evidence: np.ndarray) -> np.ndarray:
    """(N,) bin of each value of the evidence.

    >>> bins_of(np.array([0, 0.005, 0.5, 1])).tolist()
    [0, 0, 50, 99]
    """
    return np.clip((evidence * BINS).astype(np.int64), 0, BINS - 1)


def interpolated(odds: np.ndarray, evidence: np.ndarray) -> np.ndarray:
    """(N,) odds, interpolated between the centres of the bins, so that candidates of one bin differ; 0 without
    evidence.
    """
    return np.where(evidence > 0, np.interp(evidence, (np.arange(BINS) + 0.5) / BINS, odds), 0)
