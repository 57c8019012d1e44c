"""What a report shows of a distillation, as plain data; the curves and traces are whatever has these fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class FrontPoint:
    """A formula of the front, or one that was refused.

    Attributes:
        complexity: Nodes.
        r2: Held-out R2 against the network, on the rows by which the front was made.
        loss: Mean loss in closed loop on the selection runs; None if it was not run.
        text: The formula.
        chosen: Whether it is the one that was selected.
        note: Such as why it was refused.
        refused: Whether it is no member of the front.
        engine: Who found it; empty if unknown.
        r2_train, r2_test, r2_stretched: On fitted rows, on rows that chose nothing, on those with stretched gradients; None
            if unknown.
        losses: ``loss`` run by run; empty if unknown.
        diverged: In how many of those runs it diverged.
        tpf: Mean lag by input signal, in steps; empty if unknown.
    """

    complexity: int
    r2: float
    loss: float | None
    text: str
    chosen: bool = False
    note: str = ""
    refused: bool = False
    engine: str = ""
    r2_train: float | None = None
    r2_test: float | None = None
    r2_stretched: float | None = None
    losses: tuple[float, ...] = ()
    diverged: int = 0
    tpf: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class NetworkMarks:
    """What the learned rule itself has where a formula has a point.

    Attributes:
        loss: Mean loss in closed loop on the selection runs; None if unknown.
        losses: The same, run by run.
        tpf: Mean lag by input; empty if unknown.
    """

    loss: float | None = None
    losses: tuple[float, ...] = ()
    tpf: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Column:
    """A rule in closed loop.

    Attributes:
        name: network, distilled, gained or tuned.
        mean_loss: On the selection runs, in the task's unit.
        losses: The same, run by run; empty if unknown.
        diverged: In how many runs.
        r2: To the network; None where it does not apply.
        buffers: Floats of state per parameter; None if unknown.
        held_out, held_out_runs, held_out_diverged: As the first three, on runs that chose nothing; None if there were none.
        trail: Step, lower quartile, median and upper quartile of the loss over the latter runs; empty if unknown.
    """

    name: str
    mean_loss: float
    losses: tuple[float, ...] = ()
    diverged: int = 0
    r2: float | None = None
    buffers: int | None = None
    held_out: float | None = None
    held_out_runs: tuple[float, ...] = ()
    held_out_diverged: int = 0
    trail: tuple[tuple[float, ...], ...] = ()


class BandView(Protocol):
    """Quartiles of an update at each point of a curve."""

    @property
    def low(self) -> Sequence[float]:
        """Lower quartile."""

    @property
    def middle(self) -> Sequence[float]:
        """Median."""

    @property
    def high(self) -> Sequence[float]:
        """Upper quartile."""


class MappingView(Protocol):
    """An update as a function of one input, see :class:`rayl2o.symbolic.mapping_curves.MappingCurve`."""

    @property
    def input(self) -> str:
        """Name of the input."""

    @property
    def unit(self) -> str:
        """Its unit; may be empty."""

    @property
    def x(self) -> Sequence[float]:
        """Its values."""

    @property
    def network(self) -> BandView:
        """The learned rule's updates."""

    @property
    def formula(self) -> BandView:
        """The formula's updates."""

    @property
    def r2(self) -> float:
        """Of the formula against the network."""

    @property
    def states(self) -> int:
        """How many recorded states."""

    @property
    def held(self) -> str:
        """What is held."""


class WindowView(Protocol):
    """Consecutive steps of a trace."""

    @property
    def start(self) -> int:
        """Its first step."""

    @property
    def network(self) -> Sequence[float]:
        """The learned rule's updates."""

    @property
    def formula(self) -> Sequence[float]:
        """The formula's updates."""


class TraceView(Protocol):
    """Updates at one coordinate, see :class:`rayl2o.symbolic.imitation_traces.Trace`."""

    @property
    def tensor(self) -> str:
        """Name of the tensor."""

    @property
    def run(self) -> int:
        """Which run."""

    @property
    def steps(self) -> int:
        """Steps that the R2 is over."""

    @property
    def r2(self) -> float:
        """Of the formula against the network."""

    @property
    def windows(self) -> Sequence[WindowView]:
        """What is shown."""
