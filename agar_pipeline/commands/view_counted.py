"""`agar view --counted`: shows photos that `agar predict` counted in FiftyOne, or removes them there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agar_pipeline.commands.terminal import echo, say
from agar_pipeline.text.name_list import name_some
from agar_pipeline.text.safe_text import as_command


def view_counted_folder(
    folder: Path,
    dataset: str | None,
    *,
    no_app: bool,
    overwrite: bool,
    port: int | None,
    hosts: tuple[str, ...],
    migrate_database: bool,
) -> None:
    """Write the folder into a dataset of its own, and open the App on it."""
    from agar_pipeline.config import agar_home, load_pipeline
    from agar_pipeline.use_cases.viewing import open_app
    from agar_pipeline.use_cases.viewing_counted import write_counted

    home, database = agar_home(), load_pipeline().database
    written = write_counted(folder, dataset, database, home, say, overwrite=overwrite, migrate=migrate_database)
    if written.missing:
        say(f"note: {len(written.missing)} photos are not at their place: {name_some(written.missing)}")
    if written.kept:
        what = f"predictions that somebody tagged as annotated or edited were kept on {len(written.kept)} photos"
        say(f"note: {what}: {name_some(written.kept)}; --overwrite replaces them")
    if written.others:
        say(f"note: {written.others} samples of the dataset are not photos of {folder}; they stay, and are not counted")
    echo(f"{written.dataset}: {written.boxes} boxes on {written.plates} plates, in agar_counted")
    if no_app:
        again = as_command("agar", "view", "--counted", folder)
        echo(
            f"next: {again} opens the App; correct the boxes, then {as_command('agar', 'count', '--corrected')}"
            f" {as_command('--counted', folder)}"
        )
    else:
        open_app(written.dataset, None, database, home, say, port=port, more_hosts=hosts)


def remove_counted_folder(
    folder: Path, dataset: str | None, *, overwrite: bool, migrate_database: bool, **_: Any
) -> None:
    """Delete the dataset that was made of the folder."""
    from agar_pipeline.config import agar_home, load_pipeline
    from agar_pipeline.use_cases.viewing_counted import remove_counted

    database = load_pipeline().database
    name = remove_counted(folder, dataset, database, agar_home(), say, overwrite=overwrite, migrate=migrate_database)
    echo(f"removed the dataset {name}; the photos and {folder} stay")
