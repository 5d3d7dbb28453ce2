"""Reads which part of a split (train, val, test) each image is in, from `data.yaml`, lists, or the names of folders.

Parts become tags, as AGAR's training lists do. Paths in such files are those of the machine that wrote them, so that
they are compared from their end. Here: reading the parts. Not here: writing tags (`importing.plan`).
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from agar_pipeline.errors import AnnotationError
from agar_pipeline.fiftyone_io.annotation_files.part_tags import ListCount, Membership
from agar_pipeline.photos.name_spellings import without_suffix
from agar_pipeline.text.text_files import TextFileError, read_lines

PART_OF = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
"""Name of a part in files and folders → its name in this project."""


def part_called(folder: str) -> str | None:
    """Return the part that a folder or file is named after, ignoring digits after the name; None if there is none.

    >>> part_called("train2017"), part_called("valid"), part_called("images")
    ('train', 'val', None)
    """
    return PART_OF.get(folder.lower().rstrip("0123456789_-"))


@dataclass
class GivenParts:
    """Collects the images of each part from lists, `data.yaml` and folder names."""

    root: Path
    """The images' folder."""
    names: Sequence[str]
    """Paths of the images relative to `root`."""
    held: dict[str, set[str]] = field(default_factory=dict)
    """Part → names of its images."""
    unknown: dict[str, list[str]] = field(default_factory=dict)
    """Part → entries that match no image or several images."""

    def add_lists(self, lists: Mapping[str, Path]) -> None:
        """Add the images in text files (part → file) with one path, name, or name without suffix per line.

        Raises:
            AnnotationError: One of the files cannot be read.
        """
        for part, path in lists.items():
            try:
                entries = [line.strip() for line in read_lines(path) if line.strip()]
            except OSError as error:
                raise AnnotationError(
                    f"is the list of {part} images, but cannot be read ({error.strerror})",
                    where=path,
                    next_step="correct its permissions, or remove it",
                ) from error
            except TextFileError as error:
                raise AnnotationError(
                    f"is the list of {part} images, but {error.what}",
                    where=path,
                    next_step=f"{error.next_step}, or remove it",
                ) from error
            self._add(part, entries)

    def add_declared(self, plain: Mapping[str, Any], path: Path) -> None:
        """Add `train`, `val` and `test` of a `data.yaml` at `path`: each names a folder or list file, or several.

        Raises:
            AnnotationError: A list file that is named cannot be read.
        """
        base = plain.get("path")
        roots = [path.parent / _end(base), path.parent] if isinstance(base, str) and base else [path.parent]
        for key, part in PART_OF.items():
            value = plain.get(key)
            entries = [value] if isinstance(value, str) else value if isinstance(value, list) else []
            for entry in (each for each in entries if isinstance(each, str) and each):
                written = PurePosixPath(entry.replace("\\", "/"))
                if written.suffix.lower() == ".txt":
                    places = [root / _end(str(written)) for root in roots] + [root / written.name for root in roots]
                    found = next((place for place in places if place.is_file()), None)
                    if found is None:
                        self.unknown.setdefault(part, []).append(entry)
                    else:
                        self.add_lists({part: found})
                else:
                    self._add_folder(part, str(written))

    def add_folders(self) -> None:
        """Add images by the names of their folders, if exactly one part occurs among these names."""
        for name in self.names:
            parts = {part for folder in PurePosixPath(name).parts[:-1] if (part := part_called(folder))}
            if len(parts) == 1:
                self.held.setdefault(parts.pop(), set()).add(name)

    def _add(self, part: str, entries: Iterable[str]) -> None:
        whole: dict[str, list[str]] = {}
        by_end: dict[str, list[str]] = {}
        for name in self.names:
            for key in dict.fromkeys((name, without_suffix(name))):
                whole.setdefault(key, []).append(name)
                by_end.setdefault(PurePosixPath(key).name, []).append(name)
        for entry in entries:
            found = self._find(entry.replace("\\", "/"), whole, by_end)
            if len(found) == 1:
                self.held.setdefault(part, set()).add(found[0])
            else:
                self.unknown.setdefault(part, []).append(entry)

    def _find(self, entry: str, whole: Mapping[str, list[str]], by_end: Mapping[str, list[str]]) -> list[str]:
        """Find the images whose relative name is an end of the entry, or else whose absolute path ends with it."""
        parts = [part for part in entry.split("/") if part not in ("", ".", "..")]
        for first in range(len(parts)):
            above = parts[first - 1] if first else self.root.name
            in_other_part = above != self.root.name and part_called(above) is not None
            if not in_other_part and (found := whole.get("/".join(parts[first:]))):
                return found
        alike = by_end.get(parts[-1], []) if parts else []
        absolute = [(name, f"{self.root.as_posix()}/{name}") for name in alike]
        end = "/" + "/".join(parts)
        return [name for name, path in absolute if path.endswith(end) or without_suffix(path).endswith(end)]

    def _add_folder(self, part: str, entry: str) -> None:
        """Add the images in folders whose path contains the entry, or else the longest end of it that matches."""
        wanted = [each for each in PurePosixPath(entry).parts if each not in ("..", ".", "/") and ":" not in each]
        inside = set()
        for first in range(len(wanted)):
            folders = wanted[first:]
            if first and not any(map(part_called, folders)):
                break  # a common name such as `images` would match all parts
            inside = {name for name in self.names if _holds(self._folders_of(name), folders)}
            if inside:
                break
        if inside:
            self.held.setdefault(part, set()).update(inside)
        else:
            self.unknown.setdefault(part, []).append(entry)

    def _folders_of(self, name: str) -> tuple[str, ...]:
        """Return an image's folders, with the images' folder and its parent, because data sets are moved as a whole."""
        above = self.root.parts[-2:]
        return (*above, *PurePosixPath(name).parts[:-1])

    def membership(self, imported: Container[str]) -> Membership:
        """Return the parts of imported images as tags, with counts; an image in two parts gets no tag."""
        membership = Membership()
        parts_of: dict[str, list[str]] = {}
        for part, names in self.held.items():
            for name in names:
                parts_of.setdefault(name, []).append(part)
        for part in dict.fromkeys((*self.held, *self.unknown)):
            held, unknown = self.held.get(part, set()), self.unknown.get(part, [])
            count = ListCount(part, entries=len(held) + len(unknown), unknown=unknown)
            count.ambiguous = sorted(name for name in held if len(parts_of[name]) > 1)
            for name in held.difference(count.ambiguous):
                if name in imported:
                    count.tagged += 1
                    membership.tags[name] = {part}
                else:
                    count.left_out.append(name)
            membership.counts.append(count)
        return membership


def _end(written: str) -> str:
    r"""Make a path of another machine relative, without drive, root and `..`, to look it up below a folder.

    >>> _end("C:\\data\\train.txt"), _end("../valid/images")
    ('data/train.txt', 'valid/images')
    """
    parts = PurePosixPath(written.replace("\\", "/")).parts
    return str(PurePosixPath(*[part for part in parts if part not in ("/", "..") and not part.endswith(":")] or ["."]))


def _holds(folders: Sequence[str], wanted: Sequence[str]) -> bool:
    size = len(wanted)
    return any(list(folders[i : i + size]) == list(wanted) for i in range(len(folders) - size + 1))
