from __future__ import annotations

import os
from pathlib import Path

import pytest

from rayl2o.cli import doctor
from tests.cli.command import rayl2o
from tests.tasks.datasets.cifar_files import write_cifar10


def test_this_machine_is_sound_or_says_what_is_not() -> None:
    data = rayl2o("doctor", "--json").json
    assert data["ok"] is True
    assert [check["name"] for check in data["checks"]] == [name for name, _ in doctor.CHECKS]
    found = {check["name"]: check for check in data["checks"]}
    assert found["torch"]["status"] == found["digits"]["status"] == found["training"]["status"] == "ok"
    assert all(check["detail"] for check in data["checks"])


def test_broken_data_is_a_finding_not_a_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYL2O_DATA", str(tmp_path / "gone"))
    said = rayl2o("doctor", "--json")
    assert said.code == 1
    assert '"broken"' in said.out
    assert "gone" in said.out


def test_a_broken_installation_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> tuple[str, str]:
        raise ImportError("no such library")

    monkeypatch.setattr(doctor, "CHECKS", (("lib", broken),))
    said = rayl2o("doctor")
    assert said.code == 1
    assert "ImportError: no such library" in said.out


def test_data_that_are_not_there_are_merely_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAYL2O_DATA", raising=False)
    status, detail = doctor._data_set("mnist")()
    assert status == doctor.ABSENT
    assert "$RAYL2O_DATA" in detail
    monkeypatch.setenv("RAYL2O_DATA", str(tmp_path))
    assert doctor._data_set("cifar10")() == (doctor.ABSENT, "'rayl2o data prepare cifar10' fetches it")


def test_data_are_read_to_the_last_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYL2O_DATA", str(tmp_path))
    folder = write_cifar10(tmp_path)
    status, detail = doctor._data_set("cifar10")()
    assert (status, detail) == (doctor.OK, f"10 training and 3 test examples, in {folder}")
    (folder / "test_batch.bin").write_bytes(bytes([200]) * 3073)
    assert doctor._guarded("cifar10", doctor._data_set("cifar10")).status == doctor.BROKEN


def test_the_store_says_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYL2O_CACHE", str(tmp_path / "a" / "b"))
    status, detail = doctor._store()
    assert status == doctor.OK
    assert str(tmp_path / "a" / "b") in detail
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert doctor._store()[0] == doctor.ABSENT
