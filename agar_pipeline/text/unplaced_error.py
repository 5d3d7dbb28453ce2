"""An error in a content whose file only a caller knows; the caller adds the file and raises an error of `errors`.

Here: what is wrong, where inside the content, and the next step. Not here: the errors that a user sees (`errors`).
"""

from __future__ import annotations

from pathlib import Path


class UnplacedError(ValueError):
    """What is wrong in the content of a file.

    Attributes:
        what: As in `PipelineError`: the rest of the sentence that the place begins.
        next_step: As in `PipelineError`.
        where: Place inside the file, such as `annotations[3].bbox`; None for the whole file.

    >>> UnplacedError("is missing", where="images[0].id", next_step="add it").in_file(Path("a.json"))
    {'what': 'is missing', 'where': 'a.json: images[0].id', 'next_step': 'add it'}
    """

    def __init__(self, what: str, next_step: str, where: str | None = None) -> None:
        super().__init__(what, next_step, where)
        self.what, self.next_step, self.where = what, next_step, where

    def __str__(self) -> str:
        return f"{self.where or ''} {self.what}: {self.next_step}".lstrip()

    def in_file(self, path: Path, otherwise: str = "") -> dict[str, str]:
        """Return the fields of a `PipelineError` about this file; `otherwise` is added to the next step."""
        where = str(path) if self.where is None else f"{path}: {self.where}"
        return {"what": self.what, "where": where, "next_step": self.next_step + otherwise}
