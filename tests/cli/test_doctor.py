from __future__ import annotations

from pathlib import Path

import pytest

from rayl2o.cli import doctor
from tests.cli.command import rayl2o


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


def test_data_that_was_not_set_is_merely_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAYL2O_DATA", raising=False)
    assert doctor._mnist()[0] == doctor.ABSENT
