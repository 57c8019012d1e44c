"""Bad input of every kind through the real command line: one clear line (what, value, mend), exit code 2, no traceback, nothing
on stdout, and files that were there stay as they were."""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file, save_file

from rayl2o import checkpoint
from rayl2o.config import load
from rayl2o.run import train
from rayl2o.telemetry import Progress
from tests.cli.command import TINY, rayl2o, refused

QUICK = ("--task", "mlp-orig", "--steps", "2", "--seeds", "2")
NAMES = {
    "unknown task, evaluate": (("evaluate", "adam:lr=0.01", "--task", "mlp-origg"), ("'mlp-origg'", "mlp-orig")),
    "unknown task, train": (("train", "quickstart", "task.name=mlp_orig"), ("'mlp_orig'", "mlp-orig")),
    "unknown suite": (("evaluate", "adam:lr=0.01", "--suite", "mlp-transfr"), ("'mlp-transfr'", "mlp-transfer")),
    "unknown data": (("evaluate", "adam:lr=0.01", *QUICK, "--data", "minst"), ("'minst'", "mnist")),
    "unknown rule, evaluate": (("evaluate", "adan:lr=0.01", *QUICK), ("'adan'", "adam")),
    "unknown rule, train": (("train", "quickstart", "rule.kind=rnprop"), ("'rnprop'", "rnnprop")),
    "unknown preset": (("train", "quickstat"), ("'quickstat'", "quickstart")),
    "unknown key": (("train", "quickstart", "updats=3"), ("'updats'", "updates")),
    "unknown nested key": (("train", "quickstart", "unroll.stps=3"), ("'stps'", "steps")),
    "unknown setting of a task": (("evaluate", "adam:lr=0.01", *QUICK, "--set", "init_sdt=1"), ("'init_sdt'", "init_std")),
    "unknown setting of a task, train": (("train", "quickstart", "task.settings.dta=digits"), ("'dta'", "data")),
    "unknown setting of a rule": (("evaluate", "adam:lrr=0.01", *QUICK), ("'lrr'", "lr")),
    "unknown setting of a rule, train": (("train", "quickstart", "rule.settings.outputscale=1.0"), ("'outputscale'",)),
    "unknown format": (("export", "adam:lr=0.01", "--format", "pythn"), ("'pythn'", "python")),
    "unknown benchmark": (("bench", "meta-gradients"), ("'meta-gradients'", "meta-gradient")),
    "unknown runtime": (("train", "quickstart", "--runtime", "inlin"), ("'inlin'", "inline")),
    "wrong type of a key": (("train", "quickstart", "updates=ten"), ("'ten'", "whole number")),
    "unknown estimator": (("train", "quickstart", "estimator=btt"), ("'btt'", "bptt")),
    "replay of gradients": (("train", "quickstart", "estimator=bptt", "replay.uses=1"), ("replay.uses=1", "estimator=rtg")),
    "replay of float64": (("train", "quickstart", "unroll.dtype=float64", "replay.uses=1"), ("float64", "replay.uses=0")),
    "replay that never forgets": (("train", "quickstart", "replay.max_staleness=0"), ("replay.max_staleness",)),
    "segments of gradients": (("train", "quickstart", "estimator=bptt", "output.segments=true"), ("output.segments=false",)),
    "a boolean for a number": (("train", "quickstart", "slots=true"), ("True", "whole number")),
    "wrong type of a task's setting": (("evaluate", "adam:lr=0.01", *QUICK, "--set", "init_std=big"), ("'big'", "float")),
    "wrong type of a rule's setting": (("evaluate", "adam:lr=fast", *QUICK), ("fast", "number")),
    "wrong type of an option": (("evaluate", "adam:lr=0.01", *QUICK, "--seeds", "many"), ("--seeds", "integer")),
    "data for a task without": (("evaluate", "adam:lr=0.01", "--task", "quadratic", "--data", "digits"), ("--data",)),
    "a file that is not there": (("evaluate", "no/such.json", *QUICK), ("no/such.json",)),
    "a loss that is not finite, evaluate": (("evaluate", "adam:lr=0.01", *QUICK, "--set", "init_std=1e38"), ("not finite",)),
    "no weights to distil": (("distill", "adam:lr=0.01", "--task", "mlp-orig"), ("'adam:lr=0.01'", "weights")),
    "no formula to tune": (("finetune", "adam:lr=0.01", "--task", "mlp-orig"), ("'adam:lr=0.01'", "distil")),
    "no front to browse": (("symbols", "no/such"), ("no/such",)),
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("extra", [(), ("--json",)], ids=["plain", "json"])
def test_a_mistaken_argument(
    name: str, extra: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    args, says = NAMES[name]
    refused(rayl2o(*args, *extra), *says)
    assert list(tmp_path.iterdir()) == []


def test_a_loss_that_is_not_finite_at_the_first_step_of_a_training(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    args = ("train", "quickstart", "task.settings.init_std=1e38", "updates=1", "--out", folder, "--json")
    line = refused(rayl2o(*args), "not finite at its first step", "init_std")
    assert "nan" in line
    assert (folder / "config.yaml").is_file()
    assert not (folder / "checkpoints").exists()


# ---- data files


def _idx(array: torch.Tensor) -> bytes:
    return struct.pack(f">HBB{array.dim()}I", 0, 8, array.dim(), *array.shape) + bytes(array.flatten().tolist())


def _mnist(root: Path) -> Path:
    """A whole, if small, MNIST folder."""
    folder = root / "mnist"
    folder.mkdir()
    for stem in ("train", "t10k"):
        images, labels = torch.zeros(4, 28, 28, dtype=torch.uint8), torch.tensor([0, 1, 2, 3])
        (folder / f"{stem}-images-idx3-ubyte.gz").write_bytes(gzip.compress(_idx(images)))
        (folder / f"{stem}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(_idx(labels)))
    return folder


def _truncate_zip(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def _truncate_content(path: Path) -> None:
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-5]))


def _other_bytes(path: Path) -> None:
    path.write_bytes(b"<html>not found</html>")


@pytest.mark.parametrize("part", ["images-idx3", "labels-idx1"])
@pytest.mark.parametrize("damage", [Path.unlink, _truncate_zip, _truncate_content, _other_bytes])
def test_a_damaged_idx_file(
    part: str, damage: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAYL2O_DATA", str(tmp_path))
    path = _mnist(tmp_path) / f"train-{part}-ubyte.gz"
    args = ("evaluate", "adam:lr=0.01", *QUICK, "--data", "mnist")
    damage(path)
    refused(rayl2o(*args), path.name)


def test_a_data_folder_that_is_not_set_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    args = ("evaluate", "adam:lr=0.01", *QUICK, "--data", "mnist", "--json")
    monkeypatch.delenv("RAYL2O_DATA", raising=False)
    refused(rayl2o(*args), "RAYL2O_DATA", "digits")
    monkeypatch.setenv("RAYL2O_DATA", str(tmp_path / "gone"))
    refused(rayl2o(*args), "gone")


# ---- checkpoints and rule files


class _Stop(Exception):
    """Ends a run from a callback."""


@pytest.fixture
def unfinished(tmp_path: Path) -> Path:
    """A run that ended after its second checkpoint."""

    def stop(progress: Progress) -> None:
        if progress.round == 5:
            raise _Stop

    folder = tmp_path / "run"
    with pytest.raises(_Stop):
        train(load("quickstart", [*TINY, "updates=8"]), folder, stop)
    return folder


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    return train(load("quickstart", [*TINY, "updates=2"]), tmp_path / "run").run


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)


def _drop_tensor(path: Path) -> None:
    tensors = load_file(path)
    tensors.pop(sorted(tensors)[0])
    save_file(tensors, path)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def _other_schema(path: Path) -> None:
    """A manifest of another version that is sound otherwise."""
    data = json.loads(path.read_text())
    data["schema_version"] = 2
    data.pop("manifest_sha256", None)
    if path.name == checkpoint.MANIFEST:
        data["manifest_sha256"] = checkpoint._manifest_sha256(data)
    path.write_text(json.dumps(data))


def _snapshot(folder: Path) -> dict[Path, bytes]:
    return {
        path: path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ("log.txt", "status.json")
    }


DAMAGES: dict[str, tuple[str, Callable[[Path], None], tuple[str, ...]]] = {
    "flipped byte": ("tensors.safetensors", _flip, ("damaged",)),
    "missing tensor": ("tensors.safetensors", _drop_tensor, ("lacks a tensor",)),
    "truncated": ("tensors.safetensors", _truncate, ("truncated",)),
    "another schema version": ("manifest.json", _other_schema, ("schema_version", "2")),
    "flipped byte of the manifest": ("manifest.json", _flip, ("manifest.json",)),
}


@pytest.mark.parametrize("name", DAMAGES)
@pytest.mark.parametrize("verb", ["resume", "evaluate"])
def test_a_damaged_checkpoint(name: str, verb: str, unfinished: Path) -> None:
    file, damage, says = DAMAGES[name]
    for step in (unfinished / "checkpoints").glob("step-*"):
        damage(step / file)
    before = _snapshot(unfinished)
    args = ("train", "--resume", unfinished) if verb == "resume" else ("evaluate", unfinished, *QUICK)
    refused(rayl2o(*args, "--json"), "no valid checkpoint", *says)
    assert _snapshot(unfinished) == before


RULE_DAMAGES: dict[str, tuple[str, Callable[[Path], None]]] = {
    "flipped byte": ("rule.safetensors", _flip),
    "missing tensor": ("rule.safetensors", _drop_tensor),
    "truncated": ("rule.safetensors", _truncate),
    "no weights": ("rule.safetensors", Path.unlink),
    "another schema version": ("rule.json", _other_schema),
    "no JSON": ("rule.json", _truncate),
}


@pytest.mark.parametrize("name", RULE_DAMAGES)
def test_a_damaged_rule_file(name: str, finished: Path) -> None:
    file, damage = RULE_DAMAGES[name]
    damage(finished / file)
    before = _snapshot(finished)
    refused(rayl2o("evaluate", finished / "rule.json", *QUICK, "--json"), "rule")
    refused(rayl2o("evaluate", finished, *QUICK, "--json"), "rule")
    assert _snapshot(finished) == before


def test_weights_that_are_not_published_ones(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file({"x": torch.zeros(2)}, path)
    refused(rayl2o("import-weights", path, "--out", tmp_path / "out", "--json"))
    path.write_bytes(b"no")
    refused(rayl2o("import-weights", path, "--out", tmp_path / "out", "--json"), "w.safetensors")
    assert not (tmp_path / "out").exists()


# ---- formulas


def _tree(levels: int) -> str:
    """JSON text of tanh(tanh(...g)), made without recursion."""
    return '{"op": "tanh", "args": [' * levels + '{"signal": "g"}' + "]}" * levels


def _sum(terms: int) -> str:
    text = '{"signal": "g"}'
    layer = [text] * terms
    while len(layer) > 1:
        pairs = [f'{{"op": "+", "args": [{a}, {b}]}}' for a, b in zip(layer[::2], layer[1::2], strict=False)]
        layer = pairs + ([layer[-1]] if len(layer) % 2 else [])
    return layer[0]


def _head(rest: str) -> str:
    return f'{{"schema_version": 1, "kind": "symbolic", "name": "bad", "clamp": null, "gain": 1.0, {rest}}}'


FORMULAS = {
    "unknown operator": ('"formula": "-0.1*tahn(g)"', ("tahn", "tanh")),
    "unknown operator in a tree": ('"expression": {"op": "tahn", "args": [{"signal": "g"}]}', ("tahn", "tanh")),
    "unknown signal": ('"formula": "-0.1*gg"', ("gg",)),
    "wrong arity": ('"formula": "tanh(g, g)"', ("tanh", "1")),
    "wrong arity in a tree": ('"expression": {"op": "+", "args": [{"signal": "g"}]}', ("'+'", "2")),
    "10,000 nodes": (f'"formula": "{"+".join(["g"] * 5000)}"', ("formula",)),
    "10,000 nodes in a tree": (f'"expression": {_sum(5000)}', ("nodes",)),
    "5,000 levels": (f'"formula": "{"tanh(" * 5000}g{")" * 5000}"', ("formula",)),
    "5,000 levels in a tree": (f'"expression": {_tree(5000)}', ("",)),
    "NaN": ('"expression": {"op": "*", "args": [{"const": NaN}, {"signal": "g"}]}', ("",)),
    "NaN as a gain": ('"formula": "g", "gain": NaN', ("",)),
    "an infinite number": ('"formula": "1e999*g"', ("",)),
    "Python": ('"formula": "__import__(\'os\').getcwd()"', ("",)),
    "Python with an attribute": ('"formula": "g.__class__"', ("",)),
    "Python with a lambda": ('"formula": "(lambda: g)()"', ("",)),
    "nothing": ('"formula": ""', ("",)),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("verb", ["evaluate", "export"])
def test_a_bad_formula(name: str, verb: str, tmp_path: Path) -> None:
    content, says = FORMULAS[name]
    path = tmp_path / "bad.json"
    path.write_text(_head(content))
    args = ("evaluate", path, *QUICK) if verb == "evaluate" else ("export", path, "--format", "latex")
    refused(rayl2o(*args, "--json"), *says)
    assert path.read_text() == _head(content)


def test_a_sound_formula_in_the_same_frame_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "good.json"
    path.write_text(_head('"formula": "-0.1*ema(g, 0.9)"'))
    assert len(rayl2o("evaluate", path, *QUICK, "--json").json["results"]) == 2


# ---- segments


@pytest.fixture
def arrow(tmp_path: Path) -> Path:
    """One file of segments."""
    run = train(load("quickstart", [*TINY, "updates=1", "output.segments=true"]), tmp_path / "run").run
    (path,) = (run / "segments").glob("*.arrow")
    return path.rename(tmp_path / "segments.arrow")


def _rewritten(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    with pa.memory_map(str(path)) as source:
        table = change(pa.ipc.open_file(source).read_all())
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
    path.write_bytes(sink.getvalue().to_pybytes())


def _other_type(table: pa.Table) -> pa.Table:
    index = table.schema.get_field_index("seed")
    return table.set_column(index, "seed", pa.array([str(value) for value in table.column("seed").to_pylist()]))


TABLES: dict[str, tuple[Callable[[pa.Table], Any], str]] = {
    "missing column": (lambda table: table.drop_columns(["credit"]), "credit"),
    "missing provenance": (lambda table: table.drop_columns(["policy_version"]), "policy_version"),
    "another type": (_other_type, "seed"),
    "no schema version": (lambda table: table.replace_schema_metadata(None), "version"),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_bad_table_of_segments(name: str, arrow: Path) -> None:
    change, says = TABLES[name]
    _rewritten(arrow, change)
    before = arrow.read_bytes()
    refused(rayl2o("segments", arrow, "--json"), says)
    assert arrow.read_bytes() == before


@pytest.mark.parametrize("damage", [Path.unlink, _truncate, _other_bytes])
def test_a_damaged_file_of_segments(damage: Callable[[Path], None], arrow: Path) -> None:
    damage(arrow)
    refused(rayl2o("segments", arrow, "--json"), arrow.name)
