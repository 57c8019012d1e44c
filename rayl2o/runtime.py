"""Where a run's roll-outs happen and with what: settings of a runtime. Plain data; the runtime itself is in ``cluster/``."""

from __future__ import annotations

from dataclasses import dataclass, field

from rayl2o.errors import UserError, unknown_name

RUNTIMES = ("inline", "local", "cluster")
MODES = ("rounds", "asynchronous")


@dataclass(frozen=True)
class RoleConfig:
    """What one process of a role reserves. Torch runs on one thread whatever it reserves.

    Attributes:
        num_cpus, num_gpus: Ray's logical resources.
        memory_mb: Memory in MB that Ray books for it; 0 books none.
    """

    num_cpus: float = 1.0
    num_gpus: float = 0.0
    memory_mb: int = 0

    def __post_init__(self) -> None:
        for name in ("num_cpus", "num_gpus", "memory_mb"):
            if getattr(self, name) < 0:
                raise UserError(f"{name} of a role must be at least 0", value=getattr(self, name), mend="0 books none")


@dataclass(frozen=True)
class RuntimeConfig:
    """How a run is spread. None of it changes the result in ``rounds`` mode.

    Attributes:
        kind: ``inline`` (this process, no Ray), ``local`` (starts Ray on this machine) or ``cluster`` (joins one).
        address: ``auto`` or ``HOST:PORT`` of a cluster; empty elsewhere.
        workers: Roll-out workers wanted; 0 means one per CPU that the learner leaves over. More join when nodes are added.
        min_workers: Work starts when so many are ready.
        worker, learner: What each role reserves.
        object_store_mb: Object store of a local Ray in MB; 0 means a tenth of the memory, at most 2,000.
        mode: ``rounds`` (the result does not depend on workers, timing or faults) or ``asynchronous`` (it does).
        batch: Asynchronous: segments per update; 0 means as many as slots.
        max_staleness: Asynchronous: a segment made with a version older than this many updates is dropped.
        deadline_s: A call that takes longer, in seconds, is given up even if its process answers.
        start_deadline_s: Seconds that a process may take to start.
        ping_s: Seconds within which a process that takes longer than usual must answer, or it counts as hung.
        hedge_factor: A call that takes this many times the median is also given to an idle worker.
        max_attempts: Failures of one roll-out before its task is set aside (quarantined).
        max_quarantined: Tasks set aside before the run stops.
    """

    kind: str = "inline"
    address: str = ""
    workers: int = 0
    min_workers: int = 1
    worker: RoleConfig = field(default_factory=RoleConfig)
    learner: RoleConfig = field(default_factory=RoleConfig)
    object_store_mb: int = 0
    mode: str = "rounds"
    batch: int = 0
    max_staleness: int = 4
    deadline_s: float = 600.0
    start_deadline_s: float = 180.0
    ping_s: float = 5.0
    hedge_factor: float = 4.0
    max_attempts: int = 5
    max_quarantined: int = 3

    def __post_init__(self) -> None:
        if self.kind not in RUNTIMES:
            raise unknown_name("runtime", self.kind, RUNTIMES)
        if self.mode not in MODES:
            raise unknown_name("runtime.mode", self.mode, MODES)
        for name in ("workers", "batch", "max_staleness", "object_store_mb"):
            if getattr(self, name) < 0:
                raise UserError(
                    f"runtime.{name} must be at least 0", value=getattr(self, name), mend="0 is the default"
                )
        for name in ("min_workers", "max_attempts", "max_quarantined"):
            if getattr(self, name) < 1:
                raise UserError(f"runtime.{name} must be at least 1", value=getattr(self, name), mend="use 1 or more")
        for name in ("deadline_s", "start_deadline_s", "ping_s"):
            if not getattr(self, name) > 0:
                raise UserError(f"runtime.{name} must be positive", value=getattr(self, name), mend="give seconds")
        if not self.hedge_factor > 1:
            raise UserError("runtime.hedge_factor must be above 1", value=self.hedge_factor, mend="use 4")
        if self.kind == "cluster" and not self.address:
            raise UserError("a cluster needs an address", value=self.address, mend="--address auto or HOST:PORT")
        if self.kind != "cluster" and self.address:
            raise UserError("an address is for --runtime cluster", value=self.address, mend="leave it out")
        if self.workers and self.min_workers > self.workers:
            raise UserError(
                f"runtime.min_workers must be at most runtime.workers={self.workers}",
                value=self.min_workers,
                mend="lower it",
            )
