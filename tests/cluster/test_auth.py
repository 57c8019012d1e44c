"""The token is found where Ray looks for it, and only its owner can read it."""

from __future__ import annotations

import logging
import stat
from pathlib import Path

import pytest

from rayl2o.cluster import auth
from rayl2o.errors import UserError


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_authentication_is_wanted_unless_the_environment_says_otherwise() -> None:
    assert auth.wanted({})
    assert auth.wanted({"RAY_AUTH_MODE": "Token"})
    assert not auth.wanted({"RAY_AUTH_MODE": "disabled"})
    with pytest.raises(UserError, match="unknown RAY_AUTH_MODE: got 'tokn'; did you mean 'token'"):
        auth.wanted({"RAY_AUTH_MODE": "tokn"})


def test_a_token_is_made_for_its_owner_only(home: Path) -> None:
    path = home / ".ray" / "auth_token"
    assert not auth.have_token({}, create=False)
    assert not path.exists()
    assert auth.have_token({}, create=True)
    token = path.read_text()
    assert len(bytes.fromhex(token)) == 32
    assert _mode(path) == 0o600
    assert _mode(path.parent) == 0o700
    assert list(path.parent.iterdir()) == [path]
    assert auth.have_token({}, create=True)
    assert path.read_text() == token


def test_a_token_that_another_process_made_meanwhile_is_kept(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = home / ".ray" / "auth_token"
    path.parent.mkdir()
    path.write_text("theirs")
    auth._write_new(path)
    assert path.read_text() == "theirs"
    assert list(path.parent.iterdir()) == [path]


def test_a_readable_token_is_tightened(home: Path) -> None:
    path = home / "mine"
    path.write_text("secret")
    path.chmod(0o644)
    assert auth.have_token({"RAY_AUTH_TOKEN_PATH": str(path)}, create=True)
    assert _mode(path) == 0o600
    assert path.read_text() == "secret"
    assert not (home / ".ray").exists()


def test_a_token_that_cannot_be_tightened_is_used_all_the_same(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def denied(self: Path, mode: int) -> None:
        raise PermissionError(1, "not yours")

    path = home / "mounted"
    path.write_text("secret")
    path.chmod(0o444)
    monkeypatch.setattr(Path, "chmod", denied)
    with caplog.at_level(logging.WARNING):
        assert auth.have_token({"RAY_AUTH_TOKEN_PATH": str(path)}, create=False)
    assert "readable for others" in caplog.text
    assert "secret" not in caplog.text


def test_a_token_in_the_environment_needs_no_file(home: Path) -> None:
    assert auth.have_token({"RAY_AUTH_TOKEN": "secret", "RAY_AUTH_TOKEN_PATH": "/nowhere"}, create=True)
    assert list(home.iterdir()) == []


def test_a_token_file_that_is_missing_empty_or_no_text_is_said(home: Path) -> None:
    with pytest.raises(
        UserError, match=r"cannot be read: got '/nowhere/token'; No such file.*mend RAY_AUTH_TOKEN_PATH"
    ):
        auth.have_token({"RAY_AUTH_TOKEN_PATH": "/nowhere/token"}, create=True)
    path = home / "token"
    path.write_text(" \n")
    with pytest.raises(UserError, match="token file is empty"):
        auth.have_token({"RAY_AUTH_TOKEN_PATH": str(path)}, create=True)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="cannot be read"):
        auth.have_token({"RAY_AUTH_TOKEN_PATH": str(path)}, create=True)


def test_a_home_that_takes_no_token_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".ray").write_text("a file where the folder should be")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(UserError, match="token cannot be written"):
        auth.have_token({}, create=True)
