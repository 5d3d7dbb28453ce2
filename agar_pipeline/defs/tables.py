"""Tables of artifacts that the web UI shows.

Files are read without pandas, whose import would take most of the time of a run in which nothing changed.
Here: rows and cells. Not here: which asset shows which table (`metadata`, `checks`).
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg

from agar_pipeline.artifacts import BboxReport, Snapshot, Split

LISTED = 50
"""Maximum number of rows of a table in the UI; the page and the Parquet file have all rows."""


def balance_of_parts(snapshot: Snapshot, split: Split) -> dict[str, Any]:
    """Count the boxes of each label in each part, also as shares of the part, which a good split makes similar."""
    parts = list(split.summary()["parts"])
    counts = _count_labels(snapshot, split, parts)
    totals = {part: sum(count for (_, of), count in counts.items() if of == part) for part in parts}
    rows = [
        (str(label), *(f"{counts[label, part]:,} ({counts[label, part] / max(totals[part], 1):.1%})" for part in parts))
        for label in sorted({label for label, _ in counts}, key=str)
    ]
    return {"balance": table(("label", *parts), rows), **{f"{part}_boxes": count for part, count in totals.items()}}


def _count_labels(snapshot: Snapshot, split: Split, parts: list[str]) -> Counter[tuple[Any, str]]:
    """Return (label, part) → number of boxes; computed on columns, since there may be millions of boxes."""
    import numpy as np
    import pyarrow.parquet as pq

    rows = list(read_columns(split.root / "split.parquet", "image_id", "part"))
    nowhere = len(parts)
    part_of = np.full(max((image_id for image_id, _ in rows), default=0) + 2, nowhere)
    for image_id, part in rows:
        part_of[image_id] = parts.index(part)
    counts: Counter[tuple[Any, str]] = Counter()
    with pq.ParquetFile(snapshot.root / "boxes.parquet", read_dictionary=["label"]) as file:
        for batch in file.iter_batches(1_000_000, columns=["image_id", "label"]):
            labels = batch["label"]
            if labels.null_count:
                labels = labels.dictionary_decode().dictionary_encode("encode")
            image_ids, indices = np.from_dlpack(batch["image_id"]), np.from_dlpack(labels.indices)  # avoids pandas
            of_part = part_of[np.minimum(image_ids, len(part_of) - 1)]
            pairs, times = np.unique(indices.astype(np.int64) * (nowhere + 1) + of_part, return_counts=True)
            for pair, count in zip(pairs.tolist(), times.tolist(), strict=True):
                label, part_index = divmod(pair, nowhere + 1)
                if part_index != nowhere:
                    counts[labels.dictionary[label].as_py(), parts[part_index]] += count
    return counts


def findings_per_rule(report: dict[str, Any], only_broken: bool = False) -> dg.TableMetadataValue:
    """Show how often each rule is broken, and the action of the pipeline file's box_policy; most frequent first."""
    found = sorted(report["findings"].items(), key=lambda item: -item[1]["count"])
    found = [(rule, of) for rule, of in found if of["count"] or not only_broken]
    return table(("rule", "count", "policy"), [(rule, of["count"], of["action"]) for rule, of in found])


def findings_table(artifact: BboxReport) -> dg.TableMetadataValue:
    """Show the first findings, one row each, those that stop training first."""
    columns = ("rule", "part", "file_name", "annotation_id", "value", "action")
    rows = sorted(read_columns(artifact.root / "findings.parquet", *columns), key=lambda row: row[-1] != "fail")
    return table(columns, [["–" if cell is None else str(cell) for cell in row] for row in rows[:LISTED]])


def pairs_table(artifact: Split) -> dg.TableMetadataValue:
    """Show the first pairs of duplicate images that are in two parts."""
    columns = ("kind", "path", "part", "other_path", "other_part")
    rows = read_columns(artifact.root / "duplicates.parquet", "across_parts", *columns)
    return table(columns, [row for across, *row in rows if across][:LISTED])


def class_balance(balance: dict[str, Any]) -> dict[str, Any]:
    """Show the share of each class in each part, and the largest distance between the shares of any two parts."""
    parts = balance["parts"]
    names = sorted({name for part in parts.values() for name in part["class_shares"]})
    shares = [(name, *(part["class_shares"].get(name) for part in parts.values())) for name in names]
    rows = [(row[0], *("" if share is None else f"{share:.1%}" for share in row[1:])) for row in shares]
    drift = balance["largest_drift"]
    return {
        "class_balance": table(("class", *parts), rows),
        **({} if drift is None else {"largest_drift": float(drift)}),
    }


def read_columns(path: Path, *columns: str) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a Parquet file as tuples of these columns."""
    import pyarrow.parquet as pq

    table = pq.ParquetFile(path).read(list(columns))
    return zip(*(table[name].to_pylist() for name in columns), strict=True)


def digits(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def table(columns: tuple[str, ...], rows: Iterable[Iterable[Any]]) -> dg.TableMetadataValue:
    records = [dg.TableRecord(dict(zip(columns, row, strict=True))) for row in rows]
    schema = None if records else dg.TableSchema([dg.TableColumn(name) for name in columns])
    return dg.MetadataValue.table(records, schema)
