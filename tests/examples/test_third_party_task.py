"""The example distribution installs as its readme says, obeys the laws, and trains to the same bytes on Ray workers."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from rayl2o.config import load
from rayl2o.tasks.laws import LAWS, SLOW_LAWS, check
from rayl2o.tasks.registry import family_of, task
from tests.cli.command import rayl2o
from tests.conftest import SWITCHES
from tests.plugin_files import installed

pytestmark = pytest.mark.timeout(180)

EXAMPLE = Path(__file__).parents[2] / "examples" / "third_party_task"
NAME = "gp-evidence"
SHORT = (
    "updates=3",
    "instances=2",
    "unroll.steps=5",
    "curriculum.n_train=[10]",
    "task.settings={observations: 8, inputs: 2}",
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the distribution installed by pip, offline, and nothing else."""
    folder = tmp_path_factory.mktemp("third-party")
    shutil.copytree(EXAMPLE, folder / "source")  # pip builds in the source's own folder
    options = ("--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, "--target", folder / "site", folder / "source"],
        check=True,
        timeout=120,
    )
    return folder / "site"


@pytest.fixture
def here(site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process finds the distribution."""
    with installed(site, monkeypatch):
        yield


def _own_tests() -> ModuleType:
    spec = importlib.util.spec_from_file_location("test_evidence", EXAMPLE / "tests" / "test_evidence.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.usefixtures("here")
def test_it_is_listed_and_obeys_the_laws() -> None:
    (item,) = (item for item in rayl2o("list", "tasks", "--json").json["items"] if item["name"] == NAME)
    assert (item["source"], item["params"], item["error"]) == ("rayl2o-gp", 5, None)
    assert item["settings"] == ["observations", "inputs", "floor"]
    assert check(task(NAME, observations=9), family_of, laws=(*LAWS, *SLOW_LAWS), k=3) == []


@pytest.mark.usefixtures("here")
def test_its_own_tests_pass() -> None:
    own = _own_tests()
    own.test_the_loss_is_the_density_of_the_observations()
    own.test_zero_is_a_lower_bound()
    own.test_settings_out_of_range({"inputs": 0})


@pytest.mark.ray
@pytest.mark.usefixtures("here")
def test_training_gives_the_same_bytes_here_and_on_ray_workers(site: Path, tmp_path: Path) -> None:
    args = ("train", str(EXAMPLE / "train.yaml"), *SHORT, "--json")
    inline = rayl2o(*args, "--out", tmp_path / "inline").json
    mine = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    spread = subprocess.run(
        [
            *(Path(sys.executable).with_name("rayl2o"), *args, "runtime.object_store_mb=80"),
            *("--runtime", "local", "--workers", "2", "--out", tmp_path / "spread"),
        ],
        capture_output=True,
        text=True,
        env={**mine, **SWITCHES, "PYTHONPATH": str(site)},
        timeout=150,
    )
    assert spread.returncode == 0, spread.stderr
    found = json.loads(spread.stdout)
    assert (found["updates"], found["workers"]) == (3, 2)
    assert found["phi_sha256"] == inline["phi_sha256"]
    rules = (f"{tmp_path}/inline", "adam:lr=0.3")
    said = rayl2o("evaluate", *rules, "--task", NAME, "--set", "observations=8", "--steps", 4, "--seeds", 2, "--json")
    assert said.code == 0, said.err


@pytest.mark.usefixtures("here")
def test_the_readme_names_what_there_is() -> None:
    readme = (EXAMPLE / "README.md").read_text()
    assert load(str(EXAMPLE / "train.yaml")).task.name == NAME
    for path in re.findall(r"\]\(([^)#]+)\)", readme):
        assert (EXAMPLE / path).exists(), path
    assert NAME in readme
