"""The wheel, and environments of each Python that is here, with what a user of the wheel has and nothing else."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import BIN, CHECKOUT

PYTHONS = ("3.11", "3.12", "3.13")
LEFT_OUT = (".git", ".venv", ".agar", "build", "*.egg-info", "__pycache__", ".*_cache")


def find_python(version: str) -> str | None:
    """An interpreter of this version: on the PATH, or of pyenv."""
    named = [shutil.which(f"python{version}")]
    named += map(str, sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python")))
    for path in filter(None, named):
        said = subprocess.run([path, "--version"], capture_output=True, text=True).stdout
        if said.startswith(f"Python {version}."):
            return path
    return None


@dataclass(frozen=True)
class Installed:
    """An environment with the wheel, and a folder of the user's outside every checkout."""

    bin: Path
    folder: Path
    install_s: float

    def run(
        self, command: str, *arguments: str, cwd: Path | None = None, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        kept = {n: v for n, v in os.environ.items() if not n.startswith(("AGAR_", "DAGSTER_", "FIFTYONE_", "PYTHON"))}
        kept |= {"XDG_DATA_HOME": str(self.folder / "data"), "AGAR_DATABASE_IDLE_S": "5"}
        return subprocess.run(
            [str(self.bin / command), *arguments],
            cwd=cwd or self.folder, env=kept | (env or {}), capture_output=True, text=True, timeout=600,
        )  # fmt: skip


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of the checkout, which stays as it is."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(CHECKOUT, folder / "sources", symlinks=True, ignore=shutil.ignore_patterns(*LEFT_OUT))
    command = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    subprocess.run([str(BIN / "python"), "-m", "pip", *command, str(folder / "sources")], check=True)
    (path,) = folder.glob("*.whl")
    return path


Install = Callable[[str, str], Installed]


@pytest.fixture(scope="session")
def install(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Install]:
    """Installs the wheel with extras into a new environment, with the versions of the lock."""
    made: dict[tuple[str, str], Installed] = {}

    def make(version: str, extras: str) -> Installed:
        if (version, extras) in made:
            return made[version, extras]
        python = find_python(version)
        if python is None:
            pytest.skip(f"Python {version} is not here")
        folder = tmp_path_factory.mktemp(f"python{version}")
        pins = re.findall(r"^(\S+==.*?) \\$", (CHECKOUT / "requirements.lock").read_text(), re.MULTILINE)
        (folder / "constraints.txt").write_text("\n".join(pins))
        uv, begun = str(BIN / "uv"), time.monotonic()
        subprocess.run([uv, "venv", "--quiet", "--seed", "--python", python, str(folder / "venv")], check=True)
        interpreter = str(folder / "venv" / "bin" / "python")
        what = ["--quiet", "--constraint", str(folder / "constraints.txt"), f"{wheel}{extras}"]
        if subprocess.run([uv, "pip", "install", "--python", interpreter, *what]).returncode:
            subprocess.run([interpreter, "-m", "pip", "install", *what], check=True)  # its index may be another one
        (folder / "user").mkdir()
        made[version, extras] = Installed(folder / "venv" / "bin", folder / "user", time.monotonic() - begun)
        return made[version, extras]

    yield make
    for one in made.values():
        shutil.rmtree(one.bin.parent, ignore_errors=True)  # 6 GB each
