"""Exit codes and channels, whatever the verb; real processes where only they can show it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rayl2o.errors import UserError
from tests.cli.command import TINY, rayl2o, refused
from tests.interrupting import hear_ctrl_c

CALL = (sys.executable, "-c", "import sys; from rayl2o.cli import main; sys.exit(main())")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("trian",), "Did you mean 'train'"),
        (("evaluate",), "Missing argument"),
        (("evaluate", "adam:lr=0.01", "--steps", "ten"), "--steps"),
        (("evaluate", "adam:lr=0.01", "--steps", "0"), "--steps"),
        (("evaluate", "adam:lr=0.01", "--step", "3"), "--steps"),
        (("import-weights", "x.safetensors"), "--out"),
        (("list",), "WHAT"),
    ],
)
def test_a_usage_error_is_one_line(args: tuple[str, ...], says: str) -> None:
    refused(rayl2o(*args), says)
    refused(rayl2o(*args, "--json"), says)


@pytest.mark.parametrize("args", [(), ("--help",), ("train", "--help"), ("--version",)])
def test_help_is_no_mistake(args: tuple[str, ...]) -> None:
    said = rayl2o(*args)
    assert said.code == 0
    assert "rayl2o" in said.out
    assert said.err == ""


def _raise(error: BaseException) -> object:
    def broken() -> list[object]:
        raise error

    return broken


@pytest.mark.parametrize(
    ("error", "code"),
    [(KeyboardInterrupt(), 130), (BrokenPipeError(32, "pipe"), 130), (UserError("w", value=1, mend="m"), 2)],
)
def test_how_a_verb_ends_is_the_exit_code(error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rayl2o.cli.listing.KINDS", {"presets": _raise(error)})
    said = rayl2o("list", "presets", "--json")
    assert (said.code, said.out) == (code, "")


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rayl2o.cli.listing.KINDS", {"presets": _raise(ZeroDivisionError("bug"))})
    with pytest.raises(ZeroDivisionError):
        rayl2o("list", "presets")


def test_help_and_presets_load_nothing_heavy() -> None:
    heavy = ("torch", "numpy", "pyarrow", "sklearn", "scipy", "matplotlib", "ray", "yaml")
    calls = "main(['list', 'presets', '--json']); main(['--help'])"
    code = f"import sys; from rayl2o.cli import main; {calls}; print([m for m in {heavy!r} if m in sys.modules], file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stderr.strip() == "[]"


def test_a_reader_that_goes_away_ends_it_quietly() -> None:
    read, write = os.pipe()
    os.close(read)
    for args in (("list", "presets", "--json"), ("list", "presets"), ("--help",)):
        done = subprocess.run([*CALL, *args], stdout=write, stderr=subprocess.PIPE, text=True, timeout=120, check=False)
        assert (done.returncode, done.stderr) == (130, "")
    os.close(write)


def test_ctrl_c_leaves_a_run_that_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    args = ("train", "quickstart", *TINY, "updates=100000", "--out", str(folder), "--json")
    with subprocess.Popen(
        [*CALL, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=hear_ctrl_c
    ) as process:
        try:
            deadline = time.monotonic() + 100
            while not list(folder.glob("checkpoints/step-*")) and time.monotonic() < deadline:
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert out == ""
    assert "Traceback" not in err
    assert f"train --resume {folder}" in err.replace("\n", "")
