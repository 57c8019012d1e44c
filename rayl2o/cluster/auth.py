"""The token that guards a Ray cluster: whoever reaches a cluster's ports and has its token runs code there.

Ray's own rules (2.60): ``RAY_AUTH_MODE`` says ``token`` or ``disabled``; the token is ``RAY_AUTH_TOKEN``, else the file
``RAY_AUTH_TOKEN_PATH``, else ``~/.ray/auth_token``. Ray writes that file readable for everybody, and aborts the process
where a token is wanted and missing; both are met here, before Ray is asked.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path

from rayl2o.errors import UserError, unknown_name

MODE = "RAY_AUTH_MODE"
TOKEN = "RAY_AUTH_TOKEN"
TOKEN_PATH = "RAY_AUTH_TOKEN_PATH"

_MODES = ("token", "disabled")
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_log = logging.getLogger(__name__)


def wanted(environment: Mapping[str, str]) -> bool:
    """Whether token authentication is to be on: unless the environment says otherwise.

    Raises:
        UserError: ``RAY_AUTH_MODE`` is neither ``token`` nor ``disabled``; Ray would take it as disabled.
    """
    mode = environment.get(MODE, "").strip().lower()
    if mode and mode not in _MODES:
        raise unknown_name(MODE, environment[MODE], _MODES)
    return mode != "disabled"


def default_file() -> Path:
    """Where Ray looks for a token if the environment names none."""
    return Path.home() / ".ray" / "auth_token"


def have_token(environment: Mapping[str, str], create: bool) -> bool:
    """Whether Ray will find a token. Its file is made readable for its owner only.

    Args:
        environment: Usually ``os.environ``.
        create: Whether to write a new token to the default file if there is none anywhere.

    Raises:
        UserError: The file that the environment names cannot be read, or a token file is empty.
    """
    if environment.get(TOKEN):
        return True
    named = environment.get(TOKEN_PATH)
    path = Path(named).expanduser() if named else default_file()
    if not named and not path.exists():
        if create:
            _write_new(path)
        return create
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            "the Ray token cannot be read", value=str(path), mend=f"{_reason(error)}; mend {TOKEN_PATH}"
        ) from error
    if not text.strip():
        raise UserError(
            "the Ray token file is empty", value=str(path), mend="remove it; 'ray get-auth-token --generate' writes one"
        )
    _tighten(path)
    return True


def turn_on() -> None:
    """Switches token authentication on for this process and its children, unless the environment has said so already."""
    if not os.environ.get(MODE):
        from ray._raylet import Config  # type: ignore[attr-defined]

        os.environ[MODE] = "token"
        Config.initialize("")  # Ray remembers the mode of the time when it was loaded


def _write_new(path: Path) -> None:
    """A new token, never visible half written, never readable for others. One that another process wrote meanwhile is kept."""
    aside = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_hex(32))
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(aside, path)
        finally:
            aside.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            "the Ray token cannot be written", value=str(path), mend=f"{_reason(error)}; set {TOKEN_PATH} or {TOKEN}"
        ) from error


def _tighten(path: Path) -> None:
    mode = path.stat().st_mode
    if mode & _OTHERS:
        try:
            path.chmod(stat.S_IMODE(mode) & ~_OTHERS)
        except OSError as error:  # mounted read-only, or another's
            _log.warning("the Ray token %s is readable for others and stays so: %s", path, error)


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
