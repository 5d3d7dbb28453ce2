"""Keeps warnings of libraries from being raised as errors.

`PYTHONWARNINGS=error` is meant for developers of the libraries. Here it would end a training because a library uses a
deprecated function.
"""

from __future__ import annotations

import os
import warnings

_IGNORED = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)
"""The categories that Python ignores by default."""


def keep_warnings_harmless() -> None:
    """If warnings would be raised as errors, show them as Python does by default, in this process and its children."""
    if all(action != "error" for action, *_ in warnings.filters):
        return
    os.environ.pop("PYTHONWARNINGS", None)
    warnings.resetwarnings()
    for kind in _IGNORED:
        warnings.simplefilter("ignore", kind)
