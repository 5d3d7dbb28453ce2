"""The Dagster resource `compute`: the devices that a run may use. All other settings come from the config files."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast, get_args

import dagster as dg
from pydantic import Field

from agar_pipeline.chain.nodes import AssetNode
from agar_pipeline.config import Launcher, TrainerConfig, from_plain, to_plain
from agar_pipeline.errors import ConfigError
from agar_pipeline.processes.devices import require_devices
from agar_pipeline.store import Key

COMPUTE_FIELDS = ("accelerator", "devices", "num_nodes", "launcher", "precision", "socket_ifname")


class Compute(dg.ConfigurableResource):
    """Devices for smoke, training and evaluation, and the launcher for work on several machines.

    A field that is null has the experiment's value; the default there is one device of this machine.
    """

    accelerator: str | None = Field(default=None, description="auto, cpu, cuda or mps; null: the experiment's")
    devices: int | None = Field(
        default=None, description="Processes per node, one per GPU; null: the experiment's, which is 1 by default"
    )
    num_nodes: int | None = Field(default=None, description="Machines; null: the experiment's")
    launcher: str | None = Field(
        default=None,
        description="torchrun, or ray: training, and work on many photos, on a Ray cluster; null: the experiment's",
    )
    precision: str | None = Field(
        default=None, description="32-true, bf16-mixed or 16-mixed; null: the experiment's. Part of the fingerprint."
    )
    socket_ifname: str | None = Field(default=None, description="Network interface for NCCL and gloo, as in `ip link`")

    @property
    def data_launcher(self) -> Launcher:
        """Launcher of work on many images.

        Raises:
            ConfigError: no such launcher.
        """
        if self.launcher not in (None, *get_args(Launcher)):
            raise ConfigError(
                "is no launcher",
                where="launcher",
                value=self.launcher,
                next_step="give torchrun or ray to the resource compute",
            )
        return cast(Launcher, self.launcher or "torchrun")

    def named(self, nodes: Mapping[Key, AssetNode], experiment: str) -> dict[Key, AssetNode]:
        """Return the nodes with this precision, the only field of `compute` that enters fingerprints."""
        only = Compute(precision=self.precision)
        own = {key: node for key, node in nodes.items() if key.experiment == experiment}
        return {**nodes, **{key: replace(node, config=only.applied_to(node.config)) for key, node in own.items()}}

    def applied_to(self, config: Any) -> Any:
        """Return the step's config with the fields of this resource that are set, checked.

        Raises:
            ComputeError: more devices are requested than this machine has.
            ConfigError: the resulting config is invalid.
        """
        given = {name: getattr(self, name) for name in COMPUTE_FIELDS if getattr(self, name) is not None}
        plain = to_plain(config)
        place = plain.get("trainer", plain)
        place.update({name: value for name, value in given.items() if name in place})
        if (
            "devices" in given and "trainer" in plain
        ):  # checked first: with missing devices the check of the batch size would give a misleading error
            require_devices(from_plain(TrainerConfig, place, where="resource compute"))
        return from_plain(type(config), plain, where="resource compute")
