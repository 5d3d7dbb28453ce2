"""The faults and bad inputs that a trustworthy pipeline survives: number, what happens, weight."""

from __future__ import annotations

from typing import NamedTuple


class Case(NamedTuple):
    """One fault; the test of it is called `test_case_NN_…`."""

    claim: str
    weight: int


CASES: dict[int, Case] = {
    1: Case("kill -9 at a random instant in each asset, many loops", 5),
    2: Case("kill -9 of the orchestrator only", 5),
    3: Case("kill -9 while a checkpoint is saved, TMPDIR on another file system", 4),
    4: Case("Terminate in the UI, or SIGTERM, during training", 4),
    5: Case("Ctrl-C twice", 2),
    6: Case("disk full at every asset", 5),
    7: Case("I/O error, read-only home, no permission", 2),
    8: Case("one bit flipped in a cached JSON, manifest, checkpoint, Parquet", 5),
    9: Case("cached file truncated, empty, deleted, an extra one", 3),
    10: Case("rename that survived a power loss, data that did not", 2),
    11: Case("two runs at once, same key", 4),
    12: Case("two runs at once, different config", 3),
    13: Case("clock off by a year, touch, mtime changes", 3),
    14: Case("home moved, other user, symlinked", 2),
    15: Case("file system without locks", 1),
    16: Case("truncated JPEG", 4),
    17: Case("decompression bomb", 3),
    18: Case("wrong extension, CMYK, 16-bit, alpha, EXIF rotation", 4),
    19: Case("NaN or infinite boxes", 5),
    20: Case("zero, negative, sub-pixel, out-of-bounds boxes", 4),
    21: Case("duplicate image, annotation or category ids", 4),
    22: Case("ids huge, negative, float, text", 2),
    23: Case("annotation of an unknown image or category", 3),
    24: Case("missing images", 3),
    25: Case("unknown class, other spelling, a class absent from this snapshot", 4),
    26: Case("labels 0-based where 1-based is due; label ≥ number of classes", 4),
    27: Case("empty val, empty train, 1 image, 0 boxes, all plates empty", 4),
    28: Case("a view or tag with 0 samples", 5),
    29: Case("a plate with 1,000 colonies", 5),
    30: Case("the same file name in two folders", 3),
    31: Case("unicode, spaces, newline, 255-byte names, very long paths, %", 3),
    32: Case("exact or near duplicates across train and val", 3),
    33: Case("1 or 1,000 images added, hash split", 5),
    34: Case("one label edited in one image", 5),
    35: Case("the dataset changes during the snapshot", 3),
    36: Case("database down, wrong port, too old, wants a password", 4),
    37: Case("mongod killed or frozen in the middle of a read", 4),
    38: Case("training and evaluation with FiftyOne not installed", 4),
    39: Case("an mAP backend missing", 3),
    40: Case("more devices than there are, none, devices not set on a two-GPU machine", 4),
    41: Case("out of memory", 3),
    42: Case("NaN loss", 4),
    43: Case("a rank dies (−11)", 3),
    44: Case("train 6 epochs = train 3, kill -9, resume 3", 4),
    45: Case("file_name with .., absolute, symlink out, NUL, a device or FIFO", 5),
    46: Case("archive with a path out, links, a bomb", 3),
    47: Case("a checkpoint that carries code", 4),
    48: Case("config _target_ or YAML tags; UIs open to the network", 5),
    52: Case("the code of a step edited, a library upgraded, weights behind a name replaced", 4),
    61: Case("export, cache or media into a folder that holds anybody's files", 6),
    67: Case("another user against the embedded database, a view that runs what its writer named", 6),
    68: Case("FiftyOne's App and Dagster's server met by another user or another site", 5),
}
