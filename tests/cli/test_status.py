from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from rayl2o.cli.status import line_of, next_steps
from rayl2o.follow.identity import own
from rayl2o.follow.reading import read_status
from rayl2o.follow.record import RUNNING, Record
from tests.cli.command import TINY, rayl2o, refused
from tests.follow.said import CALM, FAULTY, a_run, progress, write_record
from tests.interrupting import hear_ctrl_c

CONTRACT = {
    "run", "state", "round", "updates", "loss", "stage", "inner_steps_per_s", "workers", "checkpoint", "updated", "error",
}  # fmt: skip

COMMAND = (sys.executable, "-c", "import sys; from rayl2o.cli import main; sys.exit(main())")


def _record(**changes: object) -> Record:
    base = Record(state=RUNNING, runtime="local", process=own(), updated=time.time(), progress=progress(7, CALM))
    return replace(base, **changes)  # type: ignore[arg-type]


def test_a_finished_run(tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert rayl2o("train", "quickstart", *TINY, "updates=4", "--out", out, "--json").code == 0
    found = rayl2o("status", out, "--json").json
    assert set(found) == CONTRACT
    assert (found["run"], found["state"], found["round"], found["checkpoint"]) == (str(out), "finished", 4, 4)
    said = rayl2o("status", out)
    assert said.code == 0
    for part in ("rnnprop-small on quadratic", "finished", "4/4", "100 %", "stage 2 of 2", f"rayl2o distill {out}"):
        assert part in said.out, part


def test_a_run_that_works(tmp_path: Path) -> None:
    out = a_run(tmp_path / "run")
    write_record(out, _record(progress=progress(7, FAULTY), recent=((6, 1.0), (7, 0.5)), pace_s=2.0))
    said = rayl2o("status", out)
    for part in (
        f"running: its process works (pid {os.getpid()})", "Ray on this machine", "7/20", "left", "1 of 2 ready",
        "died 2", "none yet", f"rayl2o status {out} --watch", f"tensorboard --logdir {out}/events",
    ):  # fmt: skip
        assert part in said.out, part
    assert rayl2o("status", out, "--json").json["workers"]["wanted"] == 2


def test_a_run_whose_process_was_killed(tmp_path: Path) -> None:
    out = tmp_path / "a run"
    args = ["train", "quickstart", *TINY, "updates=1000000", "--out", str(out), "--json"]
    with subprocess.Popen([*COMMAND, *args], stderr=subprocess.DEVNULL) as child:
        try:
            while not (out / "checkpoints").is_dir() or not list((out / "checkpoints").glob("step-*")):
                assert child.poll() is None
                time.sleep(0.05)
            assert rayl2o("status", out, "--json").json["state"] == "running"
        finally:
            child.send_signal(signal.SIGKILL)
    found = rayl2o("status", out, "--json").json
    assert found["state"] == "dead"
    assert found["checkpoint"] >= 2
    said = rayl2o("status", out)
    assert "its process is gone without an end" in said.out
    assert f"rayl2o train --resume '{out}'" in said.out


@pytest.mark.parametrize(
    ("changes", "state", "steps"),
    [
        (
            {"state": "converged"},
            "converged",
            ["rayl2o evaluate RUN adam:lr=0.01 --task quadratic", "rayl2o distill RUN"],
        ),
        ({"state": "failed", "error": "it broke"}, "failed", ["tail -n 20 RUN/log.txt", "rayl2o train --resume RUN"]),
        ({"state": "interrupted"}, "interrupted", ["rayl2o train --resume RUN"]),
        (
            {"updated": time.time() - 5000},
            "stalled",
            ["tail -n 20 RUN/log.txt", f"kill -9 {os.getpid()}", "rayl2o train --resume RUN"],
        ),
        (
            {"process": replace(own(), host="far", boot="other")},
            "elsewhere",
            [
                "rayl2o status RUN --watch",
                "tensorboard --logdir RUN/events",
                "rayl2o train --resume RUN  # if nothing works on it",
            ],
        ),
    ],
)
def test_what_to_type_next(changes: dict[str, object], state: str, steps: list[str], tmp_path: Path) -> None:
    out = a_run(tmp_path / "run")
    write_record(out, _record(**changes))
    status = read_status(out)
    assert status.state == state
    assert [step.replace(str(out), "RUN") for step in next_steps(status)] == steps
    said = rayl2o("status", out).out
    assert state in said
    assert ("far" in said) == (state == "elsewhere")
    assert ("it broke" in said) == (state == "failed")


def test_a_run_that_has_said_nothing(tmp_path: Path) -> None:
    out = a_run(tmp_path / "run")
    said = rayl2o("status", out)
    assert "no process has reported yet" in said.out
    assert "no round is done yet" in said.out
    assert line_of(read_status(out)) == "unknown  round 0/20"


def test_text_from_files_stays_text(tmp_path: Path) -> None:
    out = a_run(tmp_path / "run")
    write_record(out, _record(state="failed", error="[bold]a[/bold]\x1b[31m\nb"))
    said = rayl2o("status", out)
    assert "\x1b" not in said.out
    assert "[bold]a[/bold]" in said.out


def test_torn_files_are_noted(tmp_path: Path) -> None:
    out = a_run(tmp_path / "run")
    (out / "status.json").write_text('{"state"')
    (out / "config.yaml").write_text("rule: {kind: from-a-plugin}")
    said = rayl2o("status", out)
    assert said.code == 0
    assert "status.json is not a status" in said.out
    assert "from-a-plugin" in said.out
    assert json.dumps(rayl2o("status", out, "--json").json)


@pytest.mark.parametrize("args", [(), ("--json",), ("--watch",)])
def test_a_folder_that_is_no_run(args: tuple[str, ...], tmp_path: Path) -> None:
    refused(rayl2o("status", tmp_path, *args), "holds no run")
    refused(rayl2o("status", tmp_path / "none", *args), "holds no run")


def test_watch_is_for_people(tmp_path: Path) -> None:
    refused(rayl2o("status", a_run(tmp_path / "run"), "--watch", "--json"), "--watch")


def test_watching_ends_with_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = a_run(tmp_path / "run")
    write_record(out, _record())
    comes = iter(
        [_record(), _record(progress=progress(8, CALM)), _record(state="finished", progress=progress(20, CALM))]
    )
    monkeypatch.setattr("rayl2o.cli.status.time.sleep", lambda _: write_record(out, next(comes)))
    assert rayl2o("status", out, "--watch").out.splitlines() == [
        "running  round 7/20  loss 0.5714",
        "running  round 8/20  loss 0.5",
        "finished  round 20/20  loss 0.2",
    ]


@pytest.mark.timeout(60)
def test_watching_on_a_terminal_until_ctrl_c_leaves_the_run_alone(tmp_path: Path) -> None:
    out = a_run(tmp_path / "run")
    write_record(out, _record())
    master, slave = pty.openpty()
    command = [*COMMAND, "status", str(out), "--watch"]
    with subprocess.Popen(command, stdout=slave, stderr=slave, stdin=slave, preexec_fn=hear_ctrl_c) as child:
        os.close(slave)
        said = b""
        while b"7/20" not in said:
            assert select.select([master], [], [], 50)[0]
            said += os.read(master, 65536)
        child.send_signal(signal.SIGINT)
        assert child.wait(30) == 0
    os.close(master)
    assert b"running" in said
    assert read_status(out).state == "running"
