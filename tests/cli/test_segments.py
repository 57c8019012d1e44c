from __future__ import annotations

from pathlib import Path

from rayl2o.trajectory.store import read_ipc, write_parquet
from tests.cli.command import rayl2o


def test_a_file_of_segments_is_summarised(run: Path, tmp_path: Path) -> None:
    file = sorted((run / "segments").glob("*.arrow"))[3]
    data = rayl2o("segments", file, "--json").json
    (row,) = data["segments"]
    assert (row["family"], row["instances"], row["steps"], row["coords"]) == ("mlp", 2, 20, 100)
    assert (row["policy_version"], row["behaviour"], row["diverged"]) == (3, "student", 0)
    parquet = tmp_path / "same.parquet"
    write_parquet(parquet, read_ipc(file))
    assert rayl2o("segments", parquet, "--json").json["segments"] == data["segments"]
    said = rayl2o("segments", file)
    assert said.code == 0
    assert "student" in said.out
