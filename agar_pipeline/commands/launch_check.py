"""`agar launch-check`: checks whether this machine can run a training."""

from __future__ import annotations

import dataclasses
import json

import click

from agar_pipeline.commands.terminal import echo, say


@click.command("launch-check", epilog="Example: agar launch-check --devices 2")
@click.option(
    "--devices", type=click.IntRange(1), default=1, show_default=True, help="Number of processes, one per GPU."
)
@click.option("--accelerator", type=click.Choice(["auto", "cpu", "cuda", "mps"]), default="auto", show_default=True)
@click.option("--interface", help="Network interface, as in trainer.socket_ifname.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(devices: int, accelerator: str, interface: str | None, as_json: bool) -> None:
    """Check devices, network, memory, disk, database and versions. Prints OK, WARN or FAIL for each, and how to fix it.
    Exit 1 on FAIL.
    """
    from agar_pipeline.config import TrainerConfig, agar_home, from_plain, load_pipeline
    from agar_pipeline.preflight import Check, check_training
    from agar_pipeline.preflight.services import check_source

    plain = {"max_steps": 1, "devices": devices, "accelerator": accelerator, "socket_ifname": interface}
    trainer = from_plain(TrainerConfig, plain, where="agar launch-check")
    found: list[Check] = []

    def show(check: Check) -> None:
        found.append(check)
        if not as_json:
            mark = click.style(f"{check.level:<5}", fg={"OK": "green", "WARN": "yellow", "FAIL": "red"}[check.level])
            echo(f" {check.name:<11} {check.found}", lead=mark)
            if check.level != "OK":
                echo(f"      {'':<11} → {check.fix}")

    for check in check_training(trainer, agar_home(), lambda text: None if as_json else say(text)):
        show(check)
    show(check_source(load_pipeline().snapshot, agar_home()))
    failed = [check.name for check in found if check.level == "FAIL"]
    if as_json:
        checks = [dataclasses.asdict(check) for check in found]
        echo(json.dumps({"ok": not failed, "devices": devices, "checks": checks}, indent=1))
    elif not failed:
        echo(f"next: agar train experiment=… trainer.devices={devices}")
    if failed:
        raise click.exceptions.Exit(1)
