from __future__ import annotations

import json
from pathlib import Path

import pytest

from rayl2o.errors import UserError
from rayl2o.study.job import jobs
from rayl2o.study.records import kept, path_of, read, write_document, write_record
from tests.study.examples import example, toy


def test_a_document_is_json_with_a_line_per_job(tmp_path: Path) -> None:
    data = example()
    write_document(tmp_path / "toy.json", data)
    assert read(tmp_path / "toy.json") == json.loads(json.dumps(data))
    lines = (tmp_path / "toy.json").read_text().splitlines()
    assert sum(line.startswith("  {") for line in lines) == len(data["jobs"])


def test_a_number_that_is_none_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        write_record(tmp_path / "x.json", {"loss": float("nan")})
    assert not (tmp_path / "x.json").exists()


@pytest.mark.parametrize("text", ["{", "[]", '{"a": NaN}'])
def test_a_file_that_is_no_record_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(UserError, match="remove it"):
        read(tmp_path / "x.json")


def test_what_was_done_with_the_same_config_is_kept(tmp_path: Path) -> None:
    job = jobs(toy())[0]
    assert kept(tmp_path, job) is None
    for record, is_kept in (
        ({"sha256": job.sha256, "status": "ok"}, True),
        ({"sha256": job.sha256, "status": "failed"}, False),
        ({"sha256": "other", "status": "ok"}, False),
    ):
        write_record(path_of(tmp_path, job), record)
        assert (kept(tmp_path, job) == record) is is_kept
