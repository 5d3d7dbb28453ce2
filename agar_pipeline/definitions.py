"""The Definitions object that workspace.yaml names.

It only assembles, and loads in a second without torch or FiftyOne.
"""

import dagster as dg

from agar_pipeline.chain.nodes import load_nodes
from agar_pipeline.config import agar_home, load_pipeline
from agar_pipeline.defs.assets import data_assets, experiment_assets, leaderboard_asset
from agar_pipeline.defs.checks import data_checks
from agar_pipeline.defs.console import agar_console
from agar_pipeline.defs.jobs import chain_jobs
from agar_pipeline.defs.resources import Compute
from agar_pipeline.defs.sensors import dataset_sensor
from agar_pipeline.defs.source import fiftyone_dataset
from agar_pipeline.processes.garbage_collection import done_importing
from agar_pipeline.store import Key, Store

done_importing()


def assemble() -> dg.Definitions:
    """Assemble the definitions of the pipeline that `AGAR_PIPELINE` names, from the current config files."""
    pipeline = load_pipeline()
    store, nodes = Store(agar_home()), load_nodes(pipeline)
    experiments = [key.experiment for key in nodes if key.asset == "smoke_run" and key.experiment]
    return dg.Definitions(
        assets=[
            fiftyone_dataset(nodes[Key("snapshot")]),
            *data_assets(store, nodes),
            *(asset for name in experiments for asset in experiment_assets(store, nodes, name)),
            leaderboard_asset(store, nodes),
        ],
        asset_checks=data_checks(store, nodes),
        jobs=chain_jobs(nodes),
        sensors=[dataset_sensor(store, nodes, pipeline.auto_refresh)],
        resources={"compute": Compute()},
        executor=dg.in_process_executor,
        loggers={"console": dg.colored_console_logger, "agar": agar_console},
    )


defs = assemble()
