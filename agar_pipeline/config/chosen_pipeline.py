"""Messages that say which pipeline a command uses, and why.

A frequent cause of unexpected results is that `AGAR_PIPELINE` is not set in a new shell.
"""

from __future__ import annotations

import os
from collections.abc import Collection

from agar_pipeline.config.load_configs import load_pipeline
from agar_pipeline.config.overrides import names_in
from agar_pipeline.config.places import pipeline_name
from agar_pipeline.errors import ConfigError, remedy
from agar_pipeline.text.safe_text import as_command


def chosen_words() -> str:
    """Name the pipeline that commands use, and say whether `AGAR_PIPELINE` or the default chose it."""
    why = "AGAR_PIPELINE" if os.environ.get("AGAR_PIPELINE") else "AGAR_PIPELINE is not set"
    return f"pipeline {pipeline_name()!r} ({why})"


def explain_choice(dataset: str, there: Collection[str]) -> str:
    """Suggest next steps when a FiftyOne dataset does not exist; the user may have meant another pipeline.

    Args:
        there: Names of the datasets that the database has.
    """
    if _dataset_of(pipeline_name()) != dataset:  # the dataset was named on the command line
        return "import it, or name another one"
    others = {name: _dataset_of(name) for name in names_in("pipeline") if name != pipeline_name()}
    ready = [name for name, reads in others.items() if reads in there]
    steps = [f"`{as_command('export', f'AGAR_PIPELINE={name}')}`" for name in ready[:1]]
    renamed = remedy("correct snapshot.dataset", option="correct --dataset")
    steps += ["`agar demo`"] if pipeline_name() == "demo" else ["import it", renamed]
    words = [f"{name} (reads {others[name]!r})" if name in ready else name for name in others]
    return f"{', or '.join(steps)}; the dataset is that of {chosen_words()}, others are {', '.join(words) or 'none'}"


def _dataset_of(name: str) -> str | None:
    """Return the FiftyOne dataset that a pipeline file reads; None if it reads COCO files or cannot be loaded."""
    try:
        source = load_pipeline(name).snapshot
    except ConfigError:
        return None
    return source.dataset if source.source == "fiftyone" else None
