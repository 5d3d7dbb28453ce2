"""Warnings of libraries stay warnings, whatever a shell says.

`PYTHONWARNINGS=error` is for developers of the libraries: here it would end a training over a function that some
library deprecates.
"""

from __future__ import annotations

import os
import warnings

_IGNORED = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)
"""As Python does without a word from anybody."""


def keep_warnings_harmless() -> None:
    """Where warnings would be raised as errors, show them as Python does by default, here and in children."""
    if all(action != "error" for action, *_ in warnings.filters):
        return
    os.environ.pop("PYTHONWARNINGS", None)
    warnings.resetwarnings()
    for kind in _IGNORED:
        warnings.simplefilter("ignore", kind)
