"""A training in a process of its own, which can be killed, and its diary: a JSON line per round.

``python -m benchmarks.driven OUT DIARY CONFIG.yaml`` begins the run, or goes on with it where ``OUT`` holds one.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.faults import Running, running_below

_ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Round:
    """A line of the diary.

    Attributes:
        at: Seconds since the epoch.
        round: Rounds completed.
        life: Which process wrote it, from 0.
        workers: ``telemetry.WorkersView`` as plain data; empty inline.
    """

    at: float
    round: int
    life: int
    workers: Mapping[str, Any]


@dataclass
class Driver:
    """The process of one run.

    Attributes:
        out: The run's folder.
        config: Its config as a YAML file.
        environment: Of the process.
    """

    out: Path
    config: Path
    environment: Mapping[str, str]
    lives: int = 0
    process: subprocess.Popen[str] | None = None
    rounds: list[Round] = field(default_factory=list)
    ended: dict[str, Any] | None = None
    _read: int = 0

    @property
    def diary(self) -> Path:
        """Where the process notes its rounds."""
        return self.out.with_suffix(".diary")

    @property
    def said(self) -> Path:
        """What the process printed."""
        return self.out.with_suffix(".txt")

    def start(self) -> None:
        """Begins the run, or goes on with it."""
        self.said.parent.mkdir(parents=True, exist_ok=True)
        with self.said.open("a") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.driven", str(self.out), str(self.diary), str(self.config)],
                cwd=_ROOT,
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                text=True,
                start_new_session=True,
            )
        self.lives += 1

    def kill(self) -> None:
        """SIGKILL."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.look()

    def close(self) -> None:
        """Makes sure that nothing of it runs."""
        if self.process is not None and self.process.poll() is None:
            for one in self.below():
                one.send(signal.SIGKILL)
            self.process.wait()

    def below(self) -> list[Running]:
        """The process and its descendants."""
        return [] if self.process is None else running_below([self.process.pid])

    @property
    def running(self) -> bool:
        """Whether the process still runs."""
        return self.process is not None and self.process.poll() is None

    @property
    def round(self) -> int:
        """The furthest round so far."""
        self.look()
        return max((one.round for one in self.rounds), default=0)

    def look(self) -> None:
        """Reads what is new in the diary."""
        if not self.diary.is_file():
            return
        with self.diary.open() as diary:
            diary.seek(self._read)
            for line in iter(diary.readline, ""):
                if not line.endswith("\n"):  # half a line, of a process that was killed or is about to go on
                    break
                self._read += len(line)
                try:
                    note = json.loads(line)
                except ValueError:  # half a line, and another process went on behind it
                    continue
                if "round" in note:
                    self.rounds.append(Round(note["at"], note["round"], self.lives - 1, note["workers"]))
                else:
                    self.ended = note

    def wait(self, seconds: float) -> dict[str, Any]:
        """How it ended: ``{"phi_sha256": ...}`` or ``{"error": one line}``.

        Raises:
            AssertionError: If it did not end in time, or without a word.
        """
        assert self.process is not None
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"no end after {seconds:.0f} s at round {self.round}\n{self.tail()}") from None
        self.look()
        assert self.ended is not None, f"exit code {code}\n{self.tail()}"
        return self.ended

    def tail(self) -> str:
        """The last of what it said and logged."""
        log = self.out / "log.txt"
        texts = [path.read_text()[-3000:] for path in (self.said, log) if path.is_file()]
        return "\n".join(texts)


def workers_at_end(rounds: list[Round]) -> list[Mapping[str, Any]]:
    """What every life said last of its workers."""
    last: dict[int, Mapping[str, Any]] = {one.life: one.workers for one in rounds}
    return list(last.values())


def _main(out: Path, diary: Path, config_file: Path) -> int:
    import torch

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    from rayl2o import folder, run
    from rayl2o.cluster import train
    from rayl2o.config import load
    from rayl2o.errors import UserError
    from rayl2o.telemetry import Progress

    config = load(str(config_file))
    begun = (out / folder.CONFIG).is_file()
    with diary.open("a") as notes:
        if notes.tell() and not diary.read_bytes().endswith(b"\n"):
            notes.write("\n")

        def note(entry: Mapping[str, Any]) -> None:
            notes.write(json.dumps(entry) + "\n")
            notes.flush()

        def on_round(progress: Progress) -> None:
            workers = {} if progress.workers is None else asdict(progress.workers)
            note({"at": time.time(), "round": progress.round, "workers": workers})

        try:
            if config.runtime.kind == "inline":
                done = (run.resume(out, on_round) if begun else run.train(config, out, on_round)).to_json()
            elif begun:
                done = train.resume(out, config.runtime, on_round).to_json()
            else:
                done = train.train(config, out, on_round).to_json()
        except UserError as error:
            note({"error": str(error)})
            return 2
        note(done)
    return 0


if __name__ == "__main__":
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    sys.exit(_main(*(Path(text) for text in sys.argv[1:4])))
