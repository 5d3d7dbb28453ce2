"""Makes a lab's own project, which uses the installed package: configs, Dagster's files, and a page to start from."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from agar_pipeline.config import PACKAGED, PROJECT_MARKER
from agar_pipeline.errors import StorageError
from agar_pipeline.files.storage_errors import clear_storage_errors
from agar_pipeline.ownership.single_files import create_file


@dataclass
class NewProject:
    """What was done to the folder; paths are relative to it."""

    written: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    """Files that were there and differ: they are the user's."""


def create_project(folder: Path) -> NewProject:
    """Write the files that are missing in a folder; those that are there stay. The marker is written last.

    Raises:
        StorageError: it is no folder, every user may write to it, or it cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise StorageError("is not a folder", where=folder, next_step="name a new one")
    done = NewProject()
    with clear_storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if folder.stat().st_mode & stat.S_IWOTH:
            raise StorageError(
                "can be written by every user, so its settings are not trusted",
                where=folder,
                next_step="name a folder inside it",
            )
        for name, text in _files(folder.resolve().name).items():
            path = folder / name
            if os.path.lexists(path):
                if not path.is_file() or path.read_text(errors="replace") != text:
                    done.kept.append(name)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            create_file(path, text)
            done.written.append(name)
    return done


def _files(project: str) -> dict[str, str]:
    """Relative path → text, the marker last."""
    version = metadata.version("agar_pipeline")
    files = {}
    for root, _, names in os.walk(PACKAGED, followlinks=True):  # in a checkout the configs are behind a link
        for path in (Path(root, name) for name in names if not name.startswith(".")):
            files[path.relative_to(PACKAGED).as_posix()] = path.read_text()
    files[".gitignore"] = files.pop("gitignore")
    files["README.md"] = files["README.md"].replace("{name}", project)
    files["requirements.txt"] = f"agar_pipeline[all]=={version}\n"
    marker = {"made_by": "agar_pipeline", "version": version}
    return {**dict(sorted(files.items())), PROJECT_MARKER: json.dumps(marker) + "\n"}
