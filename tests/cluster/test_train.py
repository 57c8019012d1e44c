"""A run on Ray from the command line: the contract, and every refusal before work starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from rayl2o.tasks.registry import GROUP
from tests.cli.command import TINY, rayl2o, refused
from tests.plugin_files import TASK, install, installed

pytestmark = [pytest.mark.timeout(180), pytest.mark.usefixtures("ray_local")]

CONTRACT = {"run", "updates", "phi_sha256", "inner_steps_per_s", "status"}


def test_the_contract_on_ray_is_that_of_inline_and_more(tmp_path: Path) -> None:
    args = ("train", "quickstart", *TINY, "slots=2", "lag=1", "updates=6", "--json")
    inline = rayl2o(*args, "--out", tmp_path / "inline").json
    spread = rayl2o(*args, "--out", tmp_path / "spread", "--runtime", "local", "--workers", 1).json
    assert set(spread) - set(inline) == {"workers", "restarts", "staleness", "drops", "quarantined"}
    assert spread["phi_sha256"] == inline["phi_sha256"]
    assert (spread["workers"], spread["restarts"], spread["drops"]) == (1, 0, {})
    assert spread["staleness"] == {"p50": 1, "p99": 1, "max": 1}
    status = rayl2o("status", tmp_path / "spread", "--json").json
    assert (status["state"], status["round"], status["workers"]["wanted"]) == ("finished", 6, 1)
    assert any((tmp_path / "spread" / "events").iterdir())
    resumed = rayl2o("train", "--resume", tmp_path / "spread", "--runtime", "inline", "--json").json
    assert resumed["phi_sha256"] == inline["phi_sha256"]


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("--workers", "2"), "one process has no workers"),
        (("--runtime", "local", "--address", "auto"), "an address is for --runtime cluster"),
        (("--runtime", "ray"), "unknown runtime"),
        (("--runtime", "local", "runtime.worker.num_cpus=64"), "too few CPUs for the roles asked"),
        (("--runtime", "local", "runtime.min_workers=3", "--workers", "2"), "min_workers"),
        (("--runtime", "local", "runtime.mode=asynchron"), "did you mean 'asynchronous'"),
    ],
)
def test_a_mistake_is_one_line_and_no_run(args: tuple[str, ...], says: str, tmp_path: Path) -> None:
    refused(rayl2o("train", "quickstart", *TINY, *args, "--out", tmp_path / "run", "--json"), says)
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_a_plugin_that_the_nodes_lack_is_named_with_the_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "site").mkdir()
    install(tmp_path / "site", GROUP, "bowls", "bowls", TASK, {"bowl": "bowls:Bowl"})
    with installed(tmp_path / "site", monkeypatch):
        said = rayl2o(
            "train", "quickstart", *TINY, "task.name=bowl", "task.settings={}", "--runtime", "local", "--workers", 1,
            "--out", tmp_path / "run", "--json",
        )  # fmt: skip
    refused(said, "cannot read the config (unknown task", "'bowl'", "plugins on every node")
