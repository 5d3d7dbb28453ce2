"""The output of `agar inspect-coco`: printed lines, report and page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agar_pipeline.commands.terminal import echo
from agar_pipeline.text.plurals import plural

if TYPE_CHECKING:
    from agar_pipeline.config import Action, BoxRule
    from agar_pipeline.labels.inspection import Inspection


def parse_policy(words: tuple[str, ...]) -> dict[BoxRule, Action]:
    """Parse `RULE=ACTION`; only `fail` and `keep` are allowed, because nothing is mended here."""
    from agar_pipeline.config import BOX_POLICY_DEFAULTS

    policy: dict[Any, Any] = {}
    for word in words:
        rule, _, action = word.partition("=")
        if rule not in BOX_POLICY_DEFAULTS:
            raise click.UsageError(f"--policy {word} names no rule: give one of {', '.join(BOX_POLICY_DEFAULTS)}")
        if action not in {"fail", "keep"}:
            raise click.UsageError(
                f"--policy {word} must end in =fail or =keep, because this command changes no annotations"
            )
        policy[rule] = action
    return policy


def print_inspection(inspection: Inspection) -> None:
    from agar_pipeline.reports.rule_words import words_for

    plain = inspection.report
    images, annotations = plural(plain["images"], "image"), plural(plain["annotations"], "annotation")
    echo(f"{images}, {annotations}, {plural(plain['categories'], 'category', 'categories')}")
    if plain["crowds"]:
        echo(
            "regions of many objects (iscrowd), which are neither learnt nor scored: "
            f"{plain['crowds']:,} of the annotations"
        )
    width = max([len(name) for name in plain["category_distribution"]], default=0)
    for name, parts in plain["category_distribution"].items():
        count = sum(parts.values())
        echo(f"  {name:<{width}} {count:>9,} {count / max(plain['annotations'], 1):>7.1%}")
    files = plain["image_files"]
    sampled = f", a sample with seed {files['seed']}" if files["asked"] < files["of"] else ""
    how = {"header": "opened", "decode": "decoded", "skip": "not opened"}[files["depth"]]
    echo(f"every box checked; {files['opened']:,} of {plural(files['of'], 'image file')} {how}{sampled}")
    echo(f"out of bounds: {plain['out_of_bounds_ratio']:.2%} of the boxes")
    for rule, entry in plain["findings"].items():
        if entry["count"]:
            first = inspection.findings[inspection.findings["rule"] == rule].iloc[0]
            verdict = "FAIL" if entry["action"] == "fail" else "note"
            echo(f"{verdict} {entry['count']:>7,} × {rule:<22} {words_for(rule).title}; first: {_place(first)}")
    if plain["missing_names"]:
        echo(f"note: {plain['missing_names']}")


def _place(finding: Any) -> str:
    from agar_pipeline.reports.number_formats import is_null

    words = [f"image {finding['image_id']}"] if not is_null(finding["image_id"]) else []
    words += [repr(finding["file_name"])] if not is_null(finding["file_name"]) else []
    words += [f"annotation {finding['annotation_id']}"] if not is_null(finding["annotation_id"]) else []
    return ", ".join([*words, str(finding["value"])])


def write_inspection(
    inspection: Inspection, report: Path | None, html: Path | None, images_dir: Path, part: str
) -> None:
    import orjson

    from agar_pipeline.reports.number_formats import is_null

    if report is not None:
        rows = inspection.findings.to_dict("records")
        listed = [{str(k): None if is_null(v) else v for k, v in row.items()} for row in rows]
        plain = {**inspection.report, "findings_listed": listed}
        report.write_bytes(orjson.dumps(plain, option=orjson.OPT_INDENT_2))
    if html is not None:
        from agar_pipeline.reports.bbox_page import write_bbox_page

        write_bbox_page(html, inspection.report, inspection.findings, {part: inspection.columns}, images_dir)


def print_places(report: Path | None, html: Path | None) -> None:
    if report is not None:
        echo(f"report: {report.absolute()}")
    if html is not None:
        echo(f"page: {html.absolute()}")


def print_next_step(inspection: Inspection, html: Path | None) -> None:
    plain = inspection.report
    if not plain["ok"] and html is None:
        echo("next: run it again with --html page.html, which shows the boxes at fault; then correct the labels")
    elif not plain["ok"]:
        echo("next: look at the page, correct the labels, and run the command again")
    elif plain["image_files"]["asked"] < plain["image_files"]["of"]:
        echo("next: run the same command with --check-all")
    else:
        echo("next: agar import coco --help")
