"""Killed anywhere and resumed, a run ends with the same bytes: real SIGKILLs at seeded random points, and torn files."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command import TINY, rayl2o, refused
from tests.killing import KILLED, Ended, Server

UPDATES, EVERY = 60, 5
RUNS = {
    # importance sampling, mixed teachers and a curriculum with validations: everything that a checkpoint must carry
    "mixed": (
        "slots=2",
        "unroll.sampling=importance",
        "unroll.coords_per_row=3",
        "behaviour.imitation=[0.3]",
        "behaviour.self_improving=true",
        "behaviour.anneal=20",
        "curriculum.kind=algorithm1",
        "curriculum.period=4",
        "curriculum.instances=2",
        "output.segments=true",
    ),
    "lagging": ("lag=1", "rule.kind=dm-small", "rule.settings={}", "learner.rtg.clip_norm=1.0"),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server") / "scratch") as running:
        yield running


def _args(kind: str, folder: Path) -> list[object]:
    own = ("seed=1", f"updates={UPDATES}", f"output.checkpoint_every={EVERY}")
    return ["train", "quickstart", *TINY, *RUNS[kind], *own, "--out", folder, "--json"]


@pytest.fixture(scope="module", params=RUNS)
def undisturbed(
    request: pytest.FixtureRequest, server: Server, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Ended]:
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    ended = server.run(_args(request.param, folder), folder)
    assert ended.code == 0, ended.err
    return request.param, ended


def _phi(ended: Ended) -> str:
    assert ended.code == 0, ended.err
    return str(json.loads(ended.out)["phi_sha256"])


@pytest.mark.parametrize("seed", range(6))
def test_a_kill_at_a_random_call_changes_nothing(
    seed: int, server: Server, undisturbed: tuple[str, Ended], tmp_path: Path
) -> None:
    kind, whole = undisturbed
    folder, draws = tmp_path / "run", random.Random(f"{kind} {seed}")
    ended = server.run(_args(kind, folder), folder, call=draws.randrange(whole.calls // 20, whole.calls))
    assert ended.code == KILLED
    # The run may be killed again while it resumes.
    again = server.run(["train", "--resume", folder, "--json"], folder, call=draws.randrange(1, whole.calls))
    if again.code == KILLED:
        again = server.run(["train", "--resume", folder, "--json"], folder)
    assert _phi(again) == _phi(whole)


def _touches(ended: Ended, part: str) -> list[int]:
    return [i for i, line in enumerate(ended.files, start=1) if part in line]


@pytest.mark.parametrize("part", [f".step-{EVERY:08d}.", f".step-{3 * EVERY:08d}.", ".metrics.parquet", "rule."])
def test_a_kill_while_a_file_is_written_changes_nothing(
    part: str, server: Server, undisturbed: tuple[str, Ended], tmp_path: Path
) -> None:
    kind, whole = undisturbed
    points = _touches(whole, part)
    assert points
    for point in sorted({points[0], points[len(points) // 2], points[-1]}):
        folder = tmp_path / str(point)
        assert server.run(_args(kind, folder), folder, file=point).code == KILLED
        assert _phi(server.run(["train", "--resume", folder, "--json"], folder)) == _phi(whole)


def test_metrics_have_no_gap_after_a_kill(server: Server, undisturbed: tuple[str, Ended], tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    kind, whole = undisturbed
    folder = tmp_path / "run"
    point = _touches(whole, f".step-{4 * EVERY:08d}.")[0]
    assert server.run(_args(kind, folder), folder, file=point).code == KILLED
    _phi(server.run(["train", "--resume", folder, "--json"], folder))
    rounds = pq.read_table(folder / "metrics.parquet").column("round").to_pylist()
    assert rounds == [float(i) for i in range(1, len(rounds) + 1)]
    assert len(rounds) == json.loads(whole.out)["updates"]


@pytest.fixture
def halfway(server: Server, undisturbed: tuple[str, Ended], tmp_path: Path) -> Path:
    """A run killed after several checkpoints."""
    kind, whole = undisturbed
    folder = tmp_path / "run"
    point = _touches(whole, f".step-{5 * EVERY:08d}.")[0]
    assert server.run(_args(kind, folder), folder, file=point).code == KILLED
    assert len(_steps(folder)) == 2
    return folder


def _steps(folder: Path) -> list[Path]:
    return sorted((folder / "checkpoints").glob("step-*"))


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("file", ["tensors.safetensors", "manifest.json"])
def test_a_torn_newest_checkpoint_falls_back_and_says_so(
    file: str, server: Server, undisturbed: tuple[str, Ended], halfway: Path
) -> None:
    newest = _steps(halfway)[-1]
    _flip(newest / file)
    ended = server.run(["train", "--resume", halfway, "--json"], halfway)
    assert _phi(ended) == _phi(undisturbed[1])
    said = " ".join(ended.err.split())
    assert f"skipped checkpoint {newest.name}" in said
    assert f"skipped checkpoint {newest.name}" in (halfway / "log.txt").read_text()


def test_only_torn_checkpoints_are_one_clear_line(halfway: Path) -> None:
    for step in _steps(halfway):
        _flip(step / "tensors.safetensors")
    before = {path: path.read_bytes() for path in halfway.rglob("*") if path.is_file() and path.name != "log.txt"}
    refused(rayl2o("train", "--resume", halfway, "--json"), "no valid checkpoint")
    assert {path: path.read_bytes() for path in before} == before


def test_a_finished_run_stays_as_it_is(server: Server, undisturbed: tuple[str, Ended], tmp_path: Path) -> None:
    whole = Path(json.loads(undisturbed[1].out)["run"])
    folder = tmp_path / "copy"
    shutil.copytree(whole, folder)
    again = json.loads(server.run(["train", "--resume", folder, "--json"], folder).out)
    first = json.loads(undisturbed[1].out)
    assert {k: again[k] for k in ("updates", "phi_sha256", "status")} == {
        k: first[k] for k in ("updates", "phi_sha256", "status")
    }


def test_a_kill_from_outside(server: Server, undisturbed: tuple[str, Ended], tmp_path: Path) -> None:
    kind, whole = undisturbed
    if kind != "lagging":
        pytest.skip("one kind is enough for a kill at an unknown point")
    folder = tmp_path / "run"
    call = "import sys; from rayl2o.cli import main; sys.exit(main())"
    with subprocess.Popen(
        [sys.executable, "-c", call, *map(str, _args(kind, folder))], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        deadline = time.monotonic() + 100
        while not _steps(folder) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
    assert _phi(server.run(["train", "--resume", folder, "--json"], folder)) == _phi(whole)
