"""``rayl2o doctor``: what works on this machine."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import typer
from rich.table import Table

from rayl2o.cli.options import Json, one_thread
from rayl2o.cli.output import output
from rayl2o.errors import UserError

DATA_SETS = ("digits", "mnist", "fashion-mnist", "cifar10", "cifar100")
OK, ABSENT, BROKEN = "ok", "absent", "broken"
_STYLES = {OK: "green", ABSENT: "yellow", BROKEN: "bold red"}


@dataclass(frozen=True)
class Check:
    """One line of the diagnosis.

    Attributes:
        name: What was looked at.
        status: ``ok``, ``absent`` (optional, and not there) or ``broken`` (needed, and does not work).
        detail: What was found, or what to do.
    """

    name: str
    status: str
    detail: str


def verb(as_json: Json = False) -> None:
    """Say what works here: Python, torch, GPU, data, Ray, Julia, one update; exits with 1 if a part is broken."""
    one_thread()
    with output(as_json) as says:
        checks = [_guarded(name, check) for name, check in CHECKS]
        table = Table(box=None, show_header=False, padding=(0, 2))
        for check in checks:
            table.add_row(check.name, f"[{_STYLES[check.status]}]{check.status}[/]", check.detail)
        sound = all(check.status != BROKEN for check in checks)
        says.result({"ok": sound, "checks": [asdict(check) for check in checks]}, table)
    if not sound:
        raise typer.Exit(1)


def _guarded(name: str, check: Callable[[], tuple[str, str]]) -> Check:
    """A check that fails in any way is a finding."""
    try:
        status, detail = check()
    except UserError as error:
        status, detail = BROKEN, str(error)
    except Exception as error:  # whatever is wrong with an installation must become a line of the table
        status, detail = BROKEN, f"{type(error).__name__}: {error}"
    return Check(name, status, detail)


def _python() -> tuple[str, str]:
    return OK, f"{platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores"


def _torch() -> tuple[str, str]:
    import torch

    return OK, f"{torch.__version__}, CPU capability {torch.backends.cpu.get_cpu_capability()}, one thread"


def _gpu() -> tuple[str, str]:
    import torch

    if torch.cuda.is_available():
        return OK, torch.cuda.get_device_name(0)
    return ABSENT, "no CUDA device; everything runs on the CPU"


def _data_set(name: str) -> Callable[[], tuple[str, str]]:
    """Whether a data set can be read, all of it."""

    def check() -> tuple[str, str]:
        from rayl2o.tasks.datasets.base import PARTS
        from rayl2o.tasks.datasets.folder import DATA_VARIABLE, command
        from rayl2o.tasks.datasets.registry import source_of
        from rayl2o.tasks.datasets.survey import EMBEDDED, MISSING, presence

        found, root = presence(name), os.environ.get(DATA_VARIABLE)
        if found.status == MISSING:
            if not root:
                return ABSENT, f"set ${DATA_VARIABLE} to a folder, which {command(name)} then fills"
            if not Path(root).is_dir():
                return BROKEN, f"${DATA_VARIABLE} names a folder that does not exist: {root}"
            return ABSENT, f"{command(name)} fetches it"
        train, test = (len(source_of(name).read(part).labels) for part in PARTS)
        where = "embedded, with scikit-learn" if found.status == EMBEDDED else f"in {found.folder}"
        return OK, f"{train:,} training and {test:,} test examples, {where}"

    return check


def _store() -> tuple[str, str]:
    from rayl2o.tasks.datasets.cache import CACHE_VARIABLE, cache_folder

    folder = cache_folder()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free / 1e9
    if not os.access(existing, os.W_OK):
        return ABSENT, f"cannot write {folder}: every process holds its own copy of the data; set ${CACHE_VARIABLE}"
    return OK, f"{folder}, {free:,.0f} GB free: processes of this machine share their data there"


def _plugins() -> tuple[str, str]:
    from rayl2o.rules.registry import rules
    from rayl2o.tasks.registry import tasks

    found = [(item.name, item.source, item.error) for item in tasks()]
    found += [(item.name, item.source, item.error) for item in rules()]
    broken = [f"{name} ({error})" for name, _, error in found if error]
    if broken:
        return BROKEN, "; ".join(broken)
    count = sum(source != "built-in" for _, source, _ in found)
    return OK, f"{len(found)} tasks and rules, {count} from plugins"


def _installed(package: str) -> Callable[[], tuple[str, str]]:
    """The version only: importing ray or pysr costs seconds."""

    def check() -> tuple[str, str]:
        try:
            return OK, importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            return ABSENT, f"pip install {package}"

    return check


def _julia() -> tuple[str, str]:
    found = shutil.which("julia")
    return (OK, found) if found else (ABSENT, "only the pysr engine needs it")


def _terminal() -> tuple[str, str]:
    where = "a terminal: progress is live" if sys.stderr.isatty() else "no terminal: progress comes in lines"
    return OK, where


def _update() -> tuple[str, str]:
    from rayl2o.config import load
    from rayl2o.meta.rounds import fresh_state, run_round

    config = load("quickstart")
    rule, family = config.make_rule(), config.make_family()
    begun = time.perf_counter()
    _, metrics = run_round(rule, family, config, fresh_state(rule, family, config, "doctor"))
    return OK, f"one update of quickstart in {time.perf_counter() - begun:.2f} s, loss {metrics['loss']:.3f}"


CHECKS: tuple[tuple[str, Callable[[], tuple[str, str]]], ...] = (
    ("python", _python),
    ("torch", _torch),
    ("gpu", _gpu),
    *((name, _data_set(name)) for name in DATA_SETS),
    ("data store", _store),
    ("tasks and rules", _plugins),
    ("ray", _installed("ray")),
    ("pysr", _installed("pysr")),
    ("julia", _julia),
    ("terminal", _terminal),
    ("training", _update),
)
