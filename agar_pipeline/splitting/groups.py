"""Groups images that must be in the same part: those with the same value of a field, and those that look the same."""

from __future__ import annotations

import numpy as np
import pandas as pd

from agar_pipeline.config import SplitConfig
from agar_pipeline.splitting.stratify import is_missing


def group_keys(config: SplitConfig, images: pd.DataFrame, duplicates: np.ndarray | None) -> np.ndarray:
    """Return the key of each image's group, which a hash split hashes and a shuffle moves as one unit.

    Without groups the key is the sample id. The relative path is not used, because it can change when images are added:
    an image in another folder makes the deepest common folder shorter, and thus every relative path longer.

    Returns:
        (N,) texts; None for an image without a value of the field `group_by`.
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
    """Merge all groups that are connected by a pair of duplicates.

    Args:
        ids: (N,) sample ids.
        keys: (N,) key of each image's group.
        pairs: (P, 2) rows of duplicates.

    Returns:
        (N,) keys after merging; a merged group has the key of its image with the smallest sample id.

    >>> join_all(np.array(["1", "2", "3"]), np.array(["a", "b", "c"], object), np.array([[1, 2]])).tolist()
    ['a', 'b', 'b']
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
    """Merge groups as if the images had been added one by one in order of their sample ids.

    An image of an existing group joins that group. The first image of a new group joins this group to that of the
    oldest image of which it is a duplicate. Thus no image moves an older one. FiftyOne's ids begin with the time of
    their creation, so that images added later have larger ids. The disadvantage is that an image that looks like two
    older ones in different parts cannot unite them: it joins the older one, and the leakage report lists the other.

    Args, Returns: As `join_all`.
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
