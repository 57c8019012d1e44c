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

import pyarrow.parquet as pq
import pytest

from tests.cli.command import TINY, rayl2o, refused
from tests.killing import KILLED, Ended, Server

UPDATES, EVERY = 15, 3
SAYS = ("log.txt", "status.json")
"""Files that also tell of a resume that was refused."""
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
    # segments of earlier rounds are learned from again: students' and teachers', stale ones and used up ones let go
    "replaying": (
        "slots=2",
        "behaviour.imitation=[0.4]",
        "replay.uses=2",
        "replay.capacity=7",
        "replay.updates=2",
        "replay.batch=1",
        "replay.max_staleness=5",
    ),
    "gradients": ("slots=2", "estimator=bptt", "unroll.credit=exact", "behaviour.imitation=[0.4]"),
    "lagging": ("lag=1", "rule.kind=dm-small", "rule.settings={}", "learner.rtg.clip_norm=1.0"),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    warm = ("train", "quickstart", *TINY, *RUNS["mixed"], "updates=2")
    with Server(tmp_path_factory.mktemp("server") / "scratch", warm) as running:
        yield running


def _args(kind: str, folder: Path) -> list[object]:
    own = ("seed=1", f"updates={UPDATES}", f"output.checkpoint_every={EVERY}")
    return ["train", "quickstart", *TINY, *RUNS[kind], *own, "--out", folder, "--json"]


Undisturbed = dict[str, Ended]


@pytest.fixture(scope="module")
def undisturbed(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """Every kind of run, whole."""
    folder = tmp_path_factory.mktemp("undisturbed")
    runs = {kind: server.run(_args(kind, folder / kind), folder / kind, count=True) for kind in RUNS}
    assert all(ended.code == 0 for ended in runs.values()), runs
    return runs


def _phi(ended: Ended) -> str:
    assert ended.code == 0, ended.err
    return str(json.loads(ended.out)["phi_sha256"])


@pytest.mark.parametrize(
    ("kind", "seed"),
    [
        *(("mixed", seed) for seed in (1, 2, 3)),
        *(("replaying", seed) for seed in (1, 2, 3)),
        *((kind, seed) for kind in ("lagging", "gradients") for seed in (1, 2)),
    ],
)
def test_a_kill_at_a_random_call_changes_nothing(
    kind: str, seed: int, server: Server, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    folder, whole, draws = tmp_path / "run", undisturbed[kind], random.Random(f"{kind} {seed}")
    ended = server.run(_args(kind, folder), folder, call=draws.randrange(1, whole.calls))
    assert ended.code == KILLED
    # The run may be killed again while it resumes.
    again = server.run(_going_on(kind, folder), folder, call=draws.randrange(1, whole.calls))
    if again.code == KILLED:
        again = server.run(_going_on(kind, folder), folder)
    assert _phi(again) == _phi(whole)


def _going_on(kind: str, folder: Path) -> list[object]:
    """Before its config is written there is no run to go on with: it is begun again."""
    begun = (folder / "config.yaml").exists()
    return ["train", "--resume", folder, "--json"] if begun else _args(kind, folder)


def _touches(ended: Ended, part: str) -> list[int]:
    return [i for i, line in enumerate(ended.files, start=1) if part in line]


@pytest.mark.parametrize(
    ("part", "where"),
    [
        (f".step-{EVERY:08d}.", 0.0),  # the very first checkpoint, as it begins, in the middle, and as it is renamed
        (f".step-{EVERY:08d}.", 0.5),
        (f".step-{EVERY:08d}.", 1.0),
        (f".step-{4 * EVERY:08d}.", 0.7),
        (".metrics.parquet", 0.4),
        (".round-00000010", 1.0),
        (".rule.safetensors", 1.0),  # all is done but the rule is not written
    ],
)
def test_a_kill_while_a_file_is_written_changes_nothing(
    part: str, where: float, server: Server, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    whole, folder = undisturbed["mixed"], tmp_path / "run"
    points = _touches(whole, part)
    assert points
    point = points[round(where * (len(points) - 1))]
    assert server.run(_args("mixed", folder), folder, file=point).code == KILLED
    assert _phi(server.run(["train", "--resume", folder, "--json"], folder)) == _phi(whole)
    rounds = pq.read_table(folder / "metrics.parquet").column("round").to_pylist()
    assert rounds == [float(i) for i in range(1, json.loads(whole.out)["updates"] + 1)]


@pytest.mark.parametrize(
    ("part", "where"),
    [
        ("open * replay/.round-", 0.3),  # a segment is being written
        ("os.rename * replay/.round-", 0.7),  # it gets its name
        (f".step-{4 * EVERY:08d}.", 0.5),  # segments are there, the checkpoint that names them is not
        ("os.remove * replay/round-", 0.0),  # the first files that no checkpoint names are being deleted
        ("os.remove * replay/round-", 1.0),
    ],
)
def test_a_kill_while_replay_files_come_and_go_changes_nothing(
    part: str, where: float, server: Server, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    whole, folder = undisturbed["replaying"], tmp_path / "run"
    event, _, place = part.rpartition(" * ")
    points = [i for i in _touches(whole, place) if whole.files[i - 1].startswith(event)]
    assert points
    point = points[round(where * (len(points) - 1))]
    assert server.run(_args("replaying", folder), folder, file=point).code == KILLED
    assert _phi(server.run(["train", "--resume", folder, "--json"], folder)) == _phi(whole)
    manifests = [json.loads((step / "manifest.json").read_text()) for step in _steps(folder)]
    assert {path.name for path in (folder / "replay").iterdir()} == {n for m in manifests for n in m["meta"]["replay"]}


@pytest.fixture
def halfway(server: Server, undisturbed: Undisturbed, tmp_path: Path) -> Path:
    """A run killed after several checkpoints."""
    folder = tmp_path / "run"
    point = _touches(undisturbed["mixed"], f".step-{5 * EVERY:08d}.")[0]
    assert server.run(_args("mixed", folder), folder, file=point).code == KILLED
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
    file: str, server: Server, undisturbed: Undisturbed, halfway: Path
) -> None:
    newest = _steps(halfway)[-1]
    _flip(newest / file)
    ended = server.run(["train", "--resume", halfway, "--json"], halfway)
    assert _phi(ended) == _phi(undisturbed["mixed"])
    said = " ".join(ended.err.split())
    assert f"skipped checkpoint {newest.name}" in said
    assert f"skipped checkpoint {newest.name}" in (halfway / "log.txt").read_text()


def test_only_torn_checkpoints_are_one_clear_line(halfway: Path) -> None:
    for step in _steps(halfway):
        _flip(step / "tensors.safetensors")
    before = {path: path.read_bytes() for path in halfway.rglob("*") if path.is_file() and path.name not in SAYS}
    refused(rayl2o("train", "--resume", halfway, "--json"), "no valid checkpoint")
    assert {path: path.read_bytes() for path in before} == before


def test_a_finished_run_stays_as_it_is(server: Server, undisturbed: Undisturbed, tmp_path: Path) -> None:
    first = json.loads(undisturbed["mixed"].out)
    folder = tmp_path / "copy"
    shutil.copytree(first["run"], folder)
    again = json.loads(server.run(["train", "--resume", folder, "--json"], folder).out)
    for name in ("updates", "phi_sha256", "status"):
        assert again[name] == first[name]


def test_a_kill_from_outside(server: Server, undisturbed: Undisturbed, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    call = "import sys; from rayl2o.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", call, *map(str, _args("lagging", folder))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 100
        while not _steps(folder) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
    assert _phi(server.run(["train", "--resume", folder, "--json"], folder)) == _phi(undisturbed["lagging"])
