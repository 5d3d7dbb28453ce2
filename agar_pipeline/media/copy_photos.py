"""Links, copies or shrinks all photos of a cache into one folder, in parallel and each content only once.

Here: which files must be made, and making them. Not here: the space for them (`free_space`), the pixels of one photo
(`shrink`), files of earlier caches (`former_caches`).
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from agar_pipeline.cluster.partitions import open_pool
from agar_pipeline.errors import DatasetError, ImageFileError, remedy
from agar_pipeline.files.disk import link_or_copy, sha256_of
from agar_pipeline.media.former_caches import KnownFile, Origin
from agar_pipeline.media.free_space import forecast_bytes, require_room
from agar_pipeline.media.photo import OWN_MEDIA, Photo, PlacedPhotos
from agar_pipeline.media.shrink import shrink
from agar_pipeline.photos.image_paths import refuse_name, safe_image_path
from agar_pipeline.progress import Progress
from agar_pipeline.text.plurals import plural

_PROBES = 8
_SHOWN = 3
_Fault = ImageFileError | DatasetError


def place_photos(
    photos: Sequence[Photo],
    source_dir: Path,
    out_dir: Path,
    media: OWN_MEDIA,
    earlier: Mapping[Origin, KnownFile],
    progress: Progress,
) -> PlacedPhotos:
    """Put every photo into `out_dir` under its own name. The source files are only read.

    Args:
        out_dir: Folder that is empty or does not exist yet.
        media: `link` makes hard links, because loaders do not follow symbolic links out of the folder.
        earlier: Files that can be linked to instead of being made.
        progress: Called with the number of processed photos and their total number.

    Raises:
        DatasetError: Photos changed since the snapshot.
        ImageFileError: Photos are missing, unsafe or unreadable; the message counts and names them.
        StorageError: There is not enough free space.
    """
    placed, missing = PlacedPhotos(), []
    _make_folders(photos, out_dir)
    by_origin: dict[Origin, list[Photo]] = {}
    for photo in photos:
        by_origin.setdefault(photo.origin(media), []).append(photo)
    for origin, alike in by_origin.items():
        first = alike[0]
        known = earlier.get(origin)
        if media != "link" and known is not None and _link_known(known, out_dir / first.name):
            placed.files[first.name] = known
            placed.reused += 1
        else:
            missing.append(first)
    progress(len(placed.files), len(photos))
    _make_all(missing, source_dir, out_dir, media, earlier, placed, lambda done: progress(done, len(photos)))
    for alike in by_origin.values():
        for other in alike[1:]:
            placed.files[other.name] = placed.files[alike[0].name]
            placed.reused += 1
            link_or_copy(out_dir / alike[0].name, out_dir / other.name)
    progress(len(photos), len(photos))
    return placed


def _make_folders(photos: Sequence[Photo], out_dir: Path) -> None:
    """Create the folders of all photos, and refuse paths that are too long or leave the cache before any other work."""
    for photo in photos:
        if refused := refuse_name(out_dir, photo.name):
            raise ImageFileError(
                f"a photo of the snapshot would be written outside the cache: {refused.problem}",
                next_step="correct snapshot.images_dir in the pipeline file",
            )
    for path in sorted(out_dir / photo.name for photo in photos):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.exists()
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            length = len(os.fsencode(path))
            raise ImageFileError(
                f"would have a path of {length} bytes in the cache, more than the file system allows",
                where=f"the photo {path.name!r}",
                next_step="shorten the names of its folders, set AGAR_HOME to a shorter path, or "
                + remedy("set media: reference in the pipeline file", option="give --media reference"),
            ) from error


def _link_known(known: KnownFile, path: Path) -> bool:
    """Link (or copy) a file of an earlier cache; return whether it is unchanged since it was hashed."""
    try:
        link_or_copy(known.path, path)
        if known.is_still(path):
            return True
        path.unlink()
    except OSError:  # the earlier cache was removed meanwhile
        with contextlib.suppress(OSError):
            path.unlink()
    return False


def _make_all(
    missing: Sequence[Photo],
    source_dir: Path,
    out_dir: Path,
    media: OWN_MEDIA,
    earlier: Mapping[Origin, KnownFile],
    placed: PlacedPhotos,
    done: Callable[[int], None],
) -> None:
    links = media == "link" and _can_link(missing, source_dir, out_dir)
    faults: list[_Fault] = []
    probes = missing[:: max(1, len(missing) // _PROBES)][:_PROBES] if media == "resize" else []
    rest = [photo for photo in missing if photo not in set(probes)]
    make = partial(_make, source_dir, out_dir, media, links)

    def make_some(photos: Sequence[Photo]) -> None:
        with_known = ((photo, earlier.get(photo.origin(media)) if links else None) for photo in photos)
        for photo, made in zip(photos, pool.map(make, with_known), strict=True):
            if isinstance(made, KnownFile):
                placed.files[photo.name] = made
            else:
                faults.append(made)
            done(len(placed.files))

    with open_pool() as pool:
        make_some(probes)
        require_room(0 if links else forecast_bytes(rest, probes, placed, media), len(rest), media, out_dir)
        make_some(rest)
    _raise_faults(faults, len(missing))
    placed.made += len(missing)
    if media == "link":
        placed.not_linked = sum((out_dir / photo.name).lstat().st_nlink == 1 for photo in missing)


def _make(
    source_dir: Path, out_dir: Path, media: OWN_MEDIA, links: bool, wanted: tuple[Photo, KnownFile | None]
) -> KnownFile | _Fault:
    """Make the file of one photo or return the error; `wanted` is the photo and, for links, an earlier cache's file."""
    photo, known = wanted
    try:
        source, path = safe_image_path(source_dir, photo.name), out_dir / photo.name
        path.unlink(missing_ok=True)  # may be incomplete from a worker that died
        if links and link_or_copy(source, path):
            return _describe_linked(photo, path, known)
        return _write(photo, source, path, media)
    except (ImageFileError, DatasetError) as error:
        return error


def _can_link(missing: Sequence[Photo], source_dir: Path, out_dir: Path) -> bool:
    """Whether hard links work, tried with the first photo under a short name: a photo's name may be at the limit."""
    probe = out_dir / ".link"
    try:
        return bool(missing) and link_or_copy(safe_image_path(source_dir, missing[0].name), probe)
    except ImageFileError:
        return True  # the error is reported later, with those of all other photos
    finally:
        probe.unlink(missing_ok=True)


def _write(photo: Photo, source: Path, path: Path, media: OWN_MEDIA) -> KnownFile:
    data = source.read_bytes()
    if hashlib.sha256(data).hexdigest() != photo.sha256:
        raise DatasetError(
            "changed since the snapshot was taken", where=source, next_step="take a new snapshot: agar run"
        )
    content = shrink(data, source, photo.size_wh, photo.target_wh) if media == "resize" else data
    path.write_bytes(content)
    path.chmod(0o444)  # read-only, because several caches may share the file
    sha256 = photo.sha256 if content is data else hashlib.sha256(content).hexdigest()
    return KnownFile(path, len(content), path.lstat().st_mtime_ns, sha256)


def _describe_linked(photo: Photo, path: Path, known: KnownFile | None) -> KnownFile:
    """Describe a linked photo; it is hashed unless an earlier cache linked the same file and it is unchanged."""
    if known is not None and known.is_still(path):
        return known
    mtime_ns = path.lstat().st_mtime_ns
    sha256 = sha256_of(path)
    if sha256 != photo.sha256:
        raise DatasetError(
            "changed since the snapshot was taken", where=photo.name, next_step="take a new snapshot: agar run"
        )
    return KnownFile(path, photo.size_bytes, mtime_ns, sha256)


def _raise_faults(faults: Sequence[_Fault], photos: int) -> None:
    if not faults:
        return
    changed = [fault for fault in faults if isinstance(fault, DatasetError)]
    if changed:
        raise DatasetError(
            f"the snapshot differs from {len(changed)} of {plural(photos, 'photo')}: "
            f"{_list([fault.problem for fault in changed])}",
            next_step="take a new snapshot: agar run",
        )
    raise ImageFileError(
        f"{len(faults)} of {plural(photos, 'photo')} cannot be put into the cache: "
        f"{_list([fault.in_one_line for fault in faults])}",
        next_step="correct or remove these photos, then run the command again",
    )


def _list(told: Sequence[str]) -> str:
    return "; ".join(told[:_SHOWN]) + (" …" if len(told) > _SHOWN else "")
