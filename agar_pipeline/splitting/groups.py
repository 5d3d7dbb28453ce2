"""Images that must stay together: of one plate or session, or that look the same."""

from __future__ import annotations

import numpy as np
import pandas as pd

from agar_pipeline.config import SplitConfig
from agar_pipeline.splitting.stratify import is_missing


def group_keys(config: SplitConfig, images: pd.DataFrame, duplicates: np.ndarray | None) -> np.ndarray:
    """The key of each image's group: what the hash is taken of, and what a shuffle moves as one.

    Without groups it is the sample id. Unlike the path relative to the images' folder it cannot change because images
    are added: one in another folder makes the deepest common folder shorter, and every relative path longer.

    Returns:
        (N,) text; None where the image has no value of the field of `group_by`.
    """
    ids = images["sample_id"].to_numpy(dtype=object)
    keys = ids.astype(object)
    if config.group_by is not None and config.group_by.startswith("field:"):
        values = images[config.group_by].to_list()
        keys = np.array([None if is_missing(value) else str(value) for value in values], dtype=object)
    if not config.groups_duplicates or duplicates is None or not len(duplicates):
        return keys
    known = np.array([key is not None for key in keys], dtype=bool)
    row_among_known = np.cumsum(known) - 1
    pairs = row_among_known[duplicates[known[duplicates].all(axis=1)]]
    join = join_older if config.method == "hash" else join_all
    keys[known] = join(ids[known], keys[known], pairs)
    return keys


def join_all(ids: np.ndarray, keys: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Groups merged wherever a pair of duplicates connects them; the key is that of the smallest sample id in it.

    Args:
        ids: (N,) sample ids.
        keys: (N,) key of each image's group.
        pairs: (P, 2) rows of duplicates.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    names, group_of = np.unique(keys.astype(str), return_inverse=True)
    one, two = group_of[pairs[:, 0]], group_of[pairs[:, 1]]
    graph = coo_array((np.ones(len(pairs)), (one, two)), shape=(len(names), len(names)))
    _, component_of_group = connected_components(graph, directed=False)
    component = component_of_group[group_of]
    oldest: dict[int, object] = {}
    for row in np.argsort(ids.astype(str), kind="stable").tolist():
        oldest.setdefault(component[row], keys[row])
    return np.array([oldest[of] for of in component.tolist()], dtype=object)


def join_older(ids: np.ndarray, keys: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Groups as they would have grown had the images come one by one in order of their sample ids.

    A new image of a known group goes there. The first image of a group takes its group to the oldest image that it is
    a duplicate of. No image ever moves one that was there before it; FiftyOne's ids begin with the time at which they
    were made, so images added later come later. The price: an image that looks like two old ones in different parts
    cannot bring them together. It joins the older one, and the leakage report names the other.

    Args, Returns: as `join_all`.
    """
    order = np.argsort(ids.astype(str), kind="stable")
    place = np.empty(len(ids), dtype=np.int64)
    place[order] = np.arange(len(ids))
    elders: dict[int, int] = {}
    for one, two in place[pairs].tolist():
        younger, older = max(one, two), min(one, two)
        elders[younger] = min(elders.get(younger, older), older)
    joined: dict[object, object] = {}
    for rank, row in enumerate(order.tolist()):
        key = keys[row]
        if key in joined:
            continue
        elder = elders.get(rank)
        joined[key] = key if elder is None else joined[keys[order[elder]]]
    return np.array([joined[key] for key in keys], dtype=object)
