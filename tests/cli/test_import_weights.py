from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cli.command import rayl2o

FOLDER = os.environ.get("RAYL2O_DATA")


@pytest.mark.skipif(FOLDER is None, reason="RAYL2O_DATA is not set: no published weights")
@pytest.mark.parametrize(("name", "kind"), [("dm", "dm"), ("rnnprop_cl_il", "rnnprop")])
def test_the_contract_of_import_weights(name: str, kind: str, tmp_path: Path) -> None:
    file = Path(str(FOLDER)) / "l2o-checkpoints" / f"{name}.safetensors"
    data = rayl2o("import-weights", file, "--out", tmp_path / "out", "--json").json
    assert set(data) == {"rule", "kind"}
    assert data["kind"] == kind
    assert Path(data["rule"]).is_file()
    args = ("--task", "mlp-orig", "--data", "digits", "--steps", "3", "--seeds", "1", "--json")
    (row,) = rayl2o("evaluate", data["rule"], *args).json["results"]
    assert row["status"] == "ok"
    said = rayl2o("import-weights", file, "--out", tmp_path / "again")
    assert said.code == 0
    assert kind in said.out
