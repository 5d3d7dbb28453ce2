"""Nothing changed: `agar run` and `dagster asset materialize --select '*'` against a Dagster project that does nothing.

The do-nothing project has as many assets and checks as ours, in a chain, and the same executor and storage.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from benchmarks._timing import by_turns, print_ratio

ROUNDS = 5
CHECKOUT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
DO_NOTHING = """\
import dagster as dg

names = [f"asset_{i}" for i in range(11)]  # four of data, three of each of two experiments, the leaderboard


def nothing(name, dep):
    @dg.asset(name=name, deps=[dep] if dep else [], code_version="1")
    def asset():
        return dg.MaterializeResult(data_version=dg.DataVersion("1"))

    return asset


def passes(asset):
    @dg.asset_check(asset=asset, name="check", blocking=True)
    def check():
        return dg.AssetCheckResult(passed=True)

    return check


assets = [nothing(name, dep) for name, dep in zip(names, [None, *names])]
defs = dg.Definitions(assets, asset_checks=[passes("asset_1"), passes("asset_3")], executor=dg.in_process_executor)
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        env = _prepare(folder)
        do_nothing = {**env, "DAGSTER_HOME": str(folder / "nothing"), "PYTHONPATH": str(folder / "nothing")}
        materialize = ("dagster", "asset", "materialize", "--select", "*", "-m")
        nothing = partial(_call, do_nothing, *materialize, "do_nothing")
        run = by_turns(ROUNDS, nothing=nothing, ours=partial(_call, env, "agar", "run"))
        whole = by_turns(ROUNDS, nothing=nothing, ours=partial(_call, env, *materialize, "agar_pipeline.definitions"))
    print_ratio("no_change_run", run["nothing"], run["ours"], aim=1.0)
    print_ratio("no_change_materialize", whole["nothing"], whole["ours"], aim=0.75)


def _prepare(folder: Path) -> dict[str, str]:
    """A home where everything is current, and the do-nothing project beside it; returns the environment."""
    from agar_pipeline.plates.generate import generate_plates
    from tests.conftest import copy_configs

    generate_plates(folder / "plates", 12, size_px=128, seed=5)
    env = {**os.environ, "AGAR_HOME": str(folder / "home"), "AGAR_PIPELINE": "small"}
    env["AGAR_CONFIGS"] = str(copy_configs(folder / "configs"))
    _call(env, "agar", "import", "agar", "--images-dir", str(folder / "plates"), "--dataset", "small")
    _call(env, "agar", "run")
    exports = subprocess.run([BIN / "agar", "env"], env=env, capture_output=True, text=True, check=True).stdout
    env |= dict(line.removeprefix("export ").split("=", 1) for line in exports.splitlines())
    (folder / "nothing").mkdir()
    (folder / "nothing" / "do_nothing.py").write_text(DO_NOTHING)
    (folder / "nothing" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    return env


def _call(env: dict[str, str], *command: str) -> None:
    subprocess.run([str(BIN / command[0]), *command[1:]], cwd=CHECKOUT, env=env, check=True, capture_output=True)
