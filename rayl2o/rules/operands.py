"""What a formula may read at a coordinate: signals of the gradient, their lags and their exponential moving averages."""

from __future__ import annotations

import keyword
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

import torch
from torch import Tensor

from rayl2o.errors import UserError, unknown_name
from rayl2o.rules.moments import bias_correction, safe_sqrt
from rayl2o.rules.operators import OPERATORS

SIGNALS: Mapping[str, str] = MappingProxyType(
    {
        "g": "gradient",
        "q": "sign-log of the gradient",
        "g_tilde": "g / (sqrt(v_hat) + 1e-8), beta 0.95 (RNNprop)",
        "m_tilde": "m_hat / (sqrt(v_hat) + 1e-8), beta 0.95 (RNNprop)",
        "t": "step / 1000",
    }
)
"""Signals by name. The RNNprop features follow T's code (bias-corrected, both betas .95, epsilon outside the root)."""
MAX_LAG = 100
MAX_NAME = 64
"""Characters in the name of a table's column."""
SIGN_LOG_RANGE = 10.0
MOMENT_BETA = 0.95
_EPSILON = 1e-8
_HUGE = 1e38
_STEPS_PER_UNIT = 1000.0


@dataclass(frozen=True)
class Signal:
    """The current value of a signal.

    Raises:
        UserError: If the name is not in :data:`SIGNALS`.
    """

    name: str

    def __post_init__(self) -> None:
        _check_signal(self.name)

    @property
    def signal(self) -> str:
        """Its name, under the attribute that lags and emas have too."""
        return self.name

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Lag:
    """The value of a signal ``lag`` steps ago (1 to :data:`MAX_LAG`); 0 before the first step.

    Raises:
        UserError: If the signal is unknown or is ``t``, or the lag is out of range.
    """

    signal: str
    lag: int

    def __post_init__(self) -> None:
        _check_signal(self.signal, filtered=True)
        if type(self.lag) is not int or not 1 <= self.lag <= MAX_LAG:
            raise UserError("bad lag", value=plain(self.lag), mend=f"give a whole number from 1 to {MAX_LAG}")

    def __str__(self) -> str:
        return f"lag({self.signal}, {self.lag})"


@dataclass(frozen=True)
class Ema:
    """``e = beta e + (1 - beta) s`` from 0, the current step included.

    Not bias-corrected: the filter is linear and time-invariant with gain exactly 1 at a constant signal.

    Raises:
        UserError: If the signal is unknown or is ``t``, or beta is not strictly between 0 and 1.
    """

    signal: str
    beta: float

    def __post_init__(self) -> None:
        _check_signal(self.signal, filtered=True)
        if type(self.beta) is not float or not 0.0 < self.beta < 1.0:
            raise UserError("bad beta of an ema", value=plain(self.beta), mend="give a number strictly between 0 and 1")

    def __str__(self) -> str:
        return f"ema({self.signal}, {self.beta!r})"


@dataclass(frozen=True)
class Variable:
    """A column of any table, by name: formulas are searched over these. An update rule cannot read one.

    Raises:
        UserError: If the name is not an ASCII Python identifier of at most :data:`MAX_NAME` characters, or already means a
            signal, an operator, ``lag`` or ``ema``.
    """

    name: str

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise UserError("a column is named by text", value=plain(self.name), mend="give a name such as x1")
        proper = self.name.isascii() and self.name.isidentifier() and not keyword.iskeyword(self.name)
        if not proper or len(self.name) > MAX_NAME:
            mend = f"use letters, digits and _, at most {MAX_NAME}, not beginning with a digit"
            raise UserError("bad name of a column", value=self.name, mend=mend)
        if self.name in SIGNALS or self.name in OPERATORS or self.name in ("lag", "ema"):
            raise UserError("a name that formulas use already", value=self.name, mend="rename the column")

    @property
    def signal(self) -> str:
        """Its name, under the attribute that the other operands have."""
        return self.name

    def __str__(self) -> str:
        return self.name


Operand = Signal | Lag | Ema | Variable


def column_operand(name: str) -> Signal | Variable:
    """What a formula calls a table's column: the signal of that name (such as ``t``) if there is one, else a variable."""
    return Signal(name) if name in SIGNALS else Variable(name)


def plain(value: object) -> object:
    """The value if its ``repr`` is safe and short to print, else its type's name: repr of a deep list exhausts the stack."""
    small = isinstance(value, str | float | bool | None) or (isinstance(value, int) and abs(value) < 1 << 64)
    return value if small else f"a value of type {type(value).__name__}"


def _check_signal(name: object, filtered: bool = False) -> None:
    if not isinstance(name, str):
        raise UserError("a signal is named by text", value=plain(name), mend=f"use one of {', '.join(SIGNALS)}")
    if name not in SIGNALS:
        raise unknown_name("signal", name, SIGNALS)
    if filtered and name == "t":
        raise UserError("the time t has no lag and no ema", value=name, mend="use t itself")


def sign_log(g: Tensor) -> Tensor:
    """``clip(x, -1, 1) (1 + ln max(|x|, 1)) / p`` with ``x = e^p g`` and p = :data:`SIGN_LOG_RANGE`.

    DM's two inputs (log magnitude and clipped gradient, T section 4) joined into one odd, increasing, continuously
    differentiable signal: linear with slope e^p / p up to |g| = e^-p, ``sign(g) (ln|g| + p + 1) / p`` beyond.
    """
    x = g * math.exp(SIGN_LOG_RANGE)
    clipped = x.clamp(-1.0, 1.0)
    return torch.addcmul(clipped, clipped, torch.log(x.abs().clamp(1.0, _HUGE))) / SIGN_LOG_RANGE


@dataclass(frozen=True)
class OperandBank:
    """Advances the operands of a formula, sharing their state: one m, one v, one line of lags per signal, one buffer per ema.

    Raises:
        ValueError: If the operands are not distinct.
        UserError: If one is a column of a table: nothing computes it from gradients.
    """

    operands: tuple[Operand, ...]

    def __post_init__(self) -> None:
        if len(set(self.operands)) != len(self.operands):
            raise ValueError(f"operands must be distinct, got {[str(operand) for operand in self.operands]}")
        for operand in self.operands:
            if isinstance(operand, Variable):
                mend = f"use {', '.join(SIGNALS)}, their lags and emas"
                raise UserError("a rule reads the gradient, not a column of a table", value=operand.name, mend=mend)

    @cached_property
    def signals(self) -> tuple[str, ...]:
        """Names of the signals that are read, each once."""
        return tuple(dict.fromkeys(operand.signal for operand in self.operands))

    @cached_property
    def _moments(self) -> tuple[str, ...]:
        first = ("m",) if "m_tilde" in self.signals else ()
        return (*first, "v") if first or "g_tilde" in self.signals else ()

    @cached_property
    def _lags(self) -> dict[str, int]:
        """The largest lag of each signal that has one."""
        depth: dict[str, int] = {}
        for operand in self.operands:
            if isinstance(operand, Lag):
                depth[operand.signal] = max(depth.get(operand.signal, 0), operand.lag)
        return depth

    @cached_property
    def _emas(self) -> tuple[Ema, ...]:
        return tuple(operand for operand in self.operands if isinstance(operand, Ema))

    @cached_property
    def state_size(self) -> int:
        """S, floats of state per coordinate, in the order: m, v, lags of each signal (newest first), emas."""
        return len(self._moments) + sum(self._lags.values()) + len(self._emas)

    def advance(self, grad: Tensor, step: Tensor, coord: Tensor) -> tuple[dict[Operand, Tensor], Tensor]:
        """One step.

        Args:
            grad: ``[...]``.
            step: Updates made before this one; broadcasts against ``grad``.
            coord: ``[..., S]``, zeros before the first step.

        Returns:
            The value ``[...]`` of each operand, and the new ``coord``. Differentiable in ``grad`` and ``coord``, with finite
            derivatives at 0 everywhere.
        """
        old = coord.unbind(-1)
        new = [torch.lerp(old[i], raw, 1.0 - MOMENT_BETA) for i, raw in enumerate(self._raw_moments(grad))]
        signals = self._signals(grad, step, new)
        past: dict[str, tuple[Tensor, ...]] = {}
        for name, depth in self._lags.items():
            past[name] = old[len(new) : len(new) + depth]
            new += [signals[name], *past[name][:-1]]
        emas = {}
        for ema in self._emas:
            emas[ema] = torch.lerp(old[len(new)], signals[ema.signal], 1.0 - ema.beta)
            new.append(emas[ema])
        # Stacked in front and moved behind: each buffer stays contiguous, so that the next step reads it at full speed.
        return self._values(signals, past, emas), torch.stack(new).movedim(0, -1) if new else coord

    def unroll(self, grads: Tensor, step: Tensor, coord: Tensor) -> tuple[dict[Operand, Tensor], Tensor]:
        """U steps at once: ``grads [U, ...]`` to values ``[U, ...]`` and the last ``coord``; ``step`` broadcasts against grads.

        Equals U calls of :meth:`advance`; only the recursions run step by step, all emas together.
        """
        old = coord.movedim(-1, 0)
        moments, last = _filter(
            self._raw_moments(grads), (MOMENT_BETA,) * len(self._moments), old[: len(self._moments)]
        )
        signals = self._signals(grads, step, list(moments))
        new, used = [last], len(self._moments)
        past: dict[str, tuple[Tensor, ...]] = {}
        for name, depth in self._lags.items():
            line = torch.cat((old[used : used + depth].flip(0), signals[name]))  # oldest first
            past[name] = tuple(line[depth - k : line.shape[0] - k] for k in range(1, depth + 1))
            new.append(line[line.shape[0] - depth :].flip(0))
            used += depth
        inputs = tuple(signals[ema.signal] for ema in self._emas)
        filtered, last = _filter(inputs, tuple(ema.beta for ema in self._emas), old[used:])
        emas = dict(zip(self._emas, filtered, strict=True))
        return self._values(signals, past, emas), torch.cat((*new, last)).movedim(0, -1)

    def run(self, grads: Tensor, start_step: int = 0) -> dict[Operand, Tensor]:
        """The operands ``[U, ...]`` over a recorded trajectory ``grads [U, ...]`` from zero state, without a graph."""
        with torch.no_grad():
            steps = torch.arange(start_step, start_step + grads.shape[0], dtype=grads.dtype, device=grads.device)
            steps = steps.reshape(-1, *(1,) * (grads.dim() - 1))
            return self.unroll(grads, steps, grads.new_zeros(*grads.shape[1:], self.state_size))[0]

    @torch.no_grad()
    def advance_(self, grad: Tensor, step: int, buffers: Tensor) -> dict[Operand, Tensor]:
        """:meth:`advance` in place on ``buffers [S, ...]``, as an optimizer wants it.

        The values may share memory with the buffers and hold until the next call.
        """
        moments = list(buffers[: len(self._moments)])
        for buffer, raw in zip(moments, self._raw_moments(grad), strict=True):
            buffer.lerp_(raw, 1.0 - MOMENT_BETA)
        signals = self._signals(grad, grad.new_full((), float(step)), moments)
        used = len(moments)
        past: dict[str, tuple[Tensor, ...]] = {}
        for name, depth in self._lags.items():
            line = list(buffers[used : used + depth])
            past[name] = (*line[1:], line[-1].clone())  # after the shift, the value k steps ago sits in slot k
            for k in range(depth - 1, 0, -1):
                line[k].copy_(line[k - 1])
            line[0].copy_(signals[name])
            used += depth
        emas = dict(zip(self._emas, buffers[used:], strict=True))
        for ema, buffer in emas.items():
            buffer.lerp_(signals[ema.signal], 1.0 - ema.beta)
        return self._values(signals, past, emas)

    def _raw_moments(self, grad: Tensor) -> tuple[Tensor, ...]:
        """What m and v average."""
        return tuple(grad if name == "m" else grad * grad for name in self._moments)

    def _signals(self, grad: Tensor, step: Tensor, moments: list[Tensor]) -> dict[str, Tensor]:
        """The signals that are read, like ``grad``; ``moments`` already include this gradient."""
        values: dict[str, Tensor] = {}
        if "g" in self.signals:
            values["g"] = grad
        if "q" in self.signals:
            values["q"] = sign_log(grad)
        if "t" in self.signals:
            values["t"] = (step.to(grad) / _STEPS_PER_UNIT).expand_as(grad)
        if self._moments:
            correction = bias_correction(MOMENT_BETA, step, grad)
            scale = safe_sqrt(moments[-1] / correction) + _EPSILON
            if "g_tilde" in self.signals:
                values["g_tilde"] = grad / scale
            if "m_tilde" in self.signals:
                values["m_tilde"] = moments[0] / correction / scale
        return values

    def _values(
        self, signals: Mapping[str, Tensor], past: Mapping[str, tuple[Tensor, ...]], emas: Mapping[Ema, Tensor]
    ) -> dict[Operand, Tensor]:
        values: dict[Operand, Tensor] = {}
        for operand in self.operands:
            if isinstance(operand, Signal):
                values[operand] = signals[operand.signal]
            elif isinstance(operand, Lag):
                values[operand] = past[operand.signal][operand.lag - 1]
            elif isinstance(operand, Ema):
                values[operand] = emas[operand]
        return values


def _filter(inputs: tuple[Tensor, ...], betas: tuple[float, ...], start: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
    """Averages ``[U, ...]`` of the inputs ``[U, ...]`` with one beta each from ``start [F, ...]``, and the last ``[F, ...]``."""
    if not inputs:
        return (), start
    state, series = start, torch.stack(inputs, dim=1)
    keep = torch.tensor([1.0 - beta for beta in betas], dtype=series.dtype, device=series.device)
    keep = keep.reshape(-1, *(1,) * (series.dim() - 2))
    outputs = []
    for value in series:
        state = torch.lerp(state, value, keep)
        outputs.append(state)
    return torch.stack(outputs).unbind(1), state
