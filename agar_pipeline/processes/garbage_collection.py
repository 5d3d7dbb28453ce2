"""The garbage collector, kept from walking what is imported: many objects that stay, and no garbage among them."""

from __future__ import annotations

import atexit
import gc

_USUAL = gc.get_threshold()


def start_importing() -> None:
    """From here on, collect seldom, and walk nothing at the exit: more than a second where torch is imported."""
    gc.set_threshold(100_000)
    atexit.register(gc.freeze)


def done_importing() -> None:
    """What is loaded stays and is never walked again, nor its memory touched in forked workers; collect as usual."""
    gc.freeze()
    gc.set_threshold(*_USUAL)
