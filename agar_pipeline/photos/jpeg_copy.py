"""Encodes the JPEG of a training copy. Code that writes copies or estimates their cost takes the quality from here.

Quality 95 with full colour resolution. Compared with 4:2:0, the file is a tenth larger, 1.3 dB nearer to the photo, and
takes 0.7 ms more to decode at 1,024 px.
"""

from __future__ import annotations

import numpy as np
import simplejpeg

QUALITY = 95
SUBSAMPLING = "444"


def encode_copy(pixels: np.ndarray) -> bytes:
    """Encode (H, W, 3) uint8 RGB pixels."""
    return simplejpeg.encode_jpeg(
        np.ascontiguousarray(pixels), quality=QUALITY, colorspace="RGB", colorsubsampling=SUBSAMPLING
    )
