"""The law of the runtime: the same bytes inline and on Ray, whatever the number of workers."""

from __future__ import annotations

from pathlib import Path

import pytest

from rayl2o import folder
from rayl2o.cluster.train import ClusterResult, resume, train
from rayl2o.config import RunConfig, load
from rayl2o.run import TrainResult
from rayl2o.run import resume as resume_inline
from rayl2o.run import train as train_inline
from rayl2o.telemetry import Progress
from tests.cli.command import TINY

pytestmark = [pytest.mark.timeout(180), pytest.mark.usefixtures("ray_local")]

EVERYTHING = (
    "slots=3",
    "instances=2",
    "updates=14",
    "learner.rtg.lr=2.0",  # so large that validations get worse and stages end
    "unroll.sampling=importance",
    "unroll.coords_per_row=3",
    "behaviour.imitation=[0.3]",
    "behaviour.self_improving=true",
    "behaviour.anneal=20",
    "curriculum.kind=algorithm1",
    "curriculum.n_train=[10, 15, 20]",
    "curriculum.period=4",
    "curriculum.min_periods=1",
    "curriculum.instances=2",
    "replay.uses=2",
    "output.checkpoint_every=5",
    "learner.rtg.clip_norm=1.0",
)
"""Imitation, self-improving, a curriculum with validations that end stages, replay, sampling: all that could depend on order."""


def _config(workers: int, *more: str) -> RunConfig:
    kind = "local" if workers else "inline"
    runtime = (f"runtime.kind={kind}", f"runtime.workers={workers}", "runtime.worker.num_cpus=0.5")
    return load("quickstart", [*TINY, *EVERYTHING, *more, *(runtime if workers else ())])


def _train(workers: int, out: Path, *more: str) -> TrainResult | ClusterResult:
    config = _config(workers, *more)
    return train(config, out) if workers else train_inline(config, out)


def _digest(result: TrainResult | ClusterResult) -> str:
    return result.phi_sha256 if isinstance(result, TrainResult) else result.train.phi_sha256


@pytest.mark.parametrize("lag", [0, 1])
def test_the_same_bytes_inline_and_on_one_two_and_three_workers(lag: int, tmp_path: Path) -> None:
    counts = (0, 1, 2, 3) if lag == 0 else (0, 3)
    results = {n: _train(n, tmp_path / f"{n}", f"lag={lag}") for n in counts}
    assert len({_digest(result) for result in results.values()}) == 1
    inline, spread = folder.load_newest(tmp_path / "0"), folder.load_newest(tmp_path / "3")
    assert inline is not None
    assert spread is not None
    assert inline[0].scores == spread[0].scores
    assert len(inline[0].scores) > 2
    assert inline[0].curriculum.stage > 0
    timeless = [[{k: v for k, v in row.items() if k != "seconds"} for row in rows] for _, rows in (inline, spread)]
    assert timeless[0] == timeless[1]
    on_three = results[3]
    assert isinstance(on_three, ClusterResult)
    assert max(on_three.workers.staleness) == lag
    assert on_three.to_json()["workers"] == 3


@pytest.mark.parametrize(("estimator", "dtype"), [("rtg_worker", "float64"), ("bptt", "float32")])
def test_gradients_made_by_the_workers_are_summed_in_slot_order(estimator: str, dtype: str, tmp_path: Path) -> None:
    more = (f"estimator={estimator}", f"unroll.dtype={dtype}", "replay.uses=0", "updates=8")
    assert _digest(_train(0, tmp_path / "inline", *more)) == _digest(_train(2, tmp_path / "two", *more))


@pytest.mark.parametrize("kind", ["code", "continuous", "random"])
def test_averages_and_other_curricula_are_the_same_on_workers(kind: str, tmp_path: Path) -> None:
    own = ("learner.ema=0.8", f"curriculum.kind={kind}", "behaviour.weights=[3, 1, 1]", "lag=1")
    inline, spread = _train(0, tmp_path / "inline", *own), _train(2, tmp_path / "two", *own)
    assert _digest(inline) == _digest(spread)
    found = [folder.load_newest(tmp_path / name) for name in ("inline", "two")]
    assert found[0] is not None
    assert found[1] is not None
    assert found[0][0].scores == found[1][0].scores
    assert bool(found[0][0].scores) == (kind == "code")


def test_a_run_goes_on_in_another_runtime_than_the_one_that_began_it(tmp_path: Path) -> None:
    whole = _digest(_train(0, tmp_path / "whole", "lag=1"))

    def stop(progress: Progress) -> None:
        if progress.round == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_inline(_config(0, "lag=1"), tmp_path / "there", stop)
    assert _digest(resume(tmp_path / "there", _config(2).runtime)) == whole

    with pytest.raises(KeyboardInterrupt):
        train(_config(2, "lag=1"), tmp_path / "back", stop)
    assert _digest(resume_inline(tmp_path / "back")) == whole
