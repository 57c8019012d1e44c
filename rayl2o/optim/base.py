"""A coordinate-wise rule as a ``torch.optim.Optimizer``: what its symbolic and its learned form share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._compile import _disable_dynamo
from torch.optim.optimizer import ParamsT

from rayl2o.errors import UserError

_PER_THREAD = 1 << 17  # on a CPU: what stays in a core's cache through all the operations of a formula
_ELSEWHERE = 1 << 24  # on an accelerator: enough to fill it


@dataclass(frozen=True, eq=False)
class _Pack:
    """Parameters stepped as one vector of N coordinates with the state ``coord [N, S]``.

    ``parts [n, S]`` are each one's rows of it, ``views [*shape, S]`` the same memory as it stands in ``Optimizer.state``.
    """

    members: tuple[Tensor, ...]
    coord: Tensor
    parts: tuple[Tensor, ...]
    views: tuple[Tensor, ...]


class RuleOptimizer(torch.optim.Optimizer):
    """Base of :class:`SymbolicOptimizer` and :class:`LearnedOptimizer`; they supply two methods and a digest.

    ``params += lr * update``, after ``params *= 1 - lr * weight_decay``. State per parameter: ``step`` (0-dim float32 on the
    CPU) and ``coord [*param.shape, S]`` in float32 (float64 for float64 parameters), also under half precision.

    Args:
        params: Parameters or groups; ``lr``, ``weight_decay`` and ``maximize`` may differ by group.
        lr: Multiplies the rule's update; 1 takes the rule as it was trained.
        weight_decay: Decoupled, as in AdamW.
        maximize: Ascend instead.
        differentiable: Only False: to differentiate through updates use the rule's ``update``.
        digest: What identifies the rule; a state of another rule is refused.

    Raises:
        UserError: If a setting is out of range.
    """

    _reads_params = False

    _kept: tuple[str, ...] = ("_digest",)  # own attributes that survive a deep copy

    def __init__(
        self,
        params: ParamsT,
        lr: float,
        weight_decay: float,
        maximize: bool,
        differentiable: bool,
        digest: str,
    ) -> None:
        if differentiable:
            raise UserError("differentiable steps are not offered", value=True, mend="use the rule's update() instead")
        self._home: dict[Tensor, tuple[_Pack, int]] = {}
        self._digest = digest
        defaults = {
            "lr": lr,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "differentiable": False,
            "rule": digest,
        }
        super().__init__(params, defaults)

    @property
    def formula(self) -> str:
        """One readable line: what it does."""
        raise NotImplementedError

    def _new_coord(self, size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
        """State ``[size, S]`` before the first step, in the memory order in which the rule reads it."""
        raise NotImplementedError

    def _advance(self, step: int, grad: Tensor, coord: Tensor, params: Tensor | None) -> Tensor:
        """Updates ``[N]`` for ``grad [N]``; advances ``coord [N, S]`` in place. ``params [N]`` only where they are read."""
        raise NotImplementedError

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """As in ``torch.optim``; refuses settings that are out of range.

        Raises:
            UserError: If lr or weight_decay is negative or not finite, or a parameter is complex or not floating.
        """
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        try:
            for key in ("lr", "weight_decay"):
                if not (math.isfinite(group[key]) and group[key] >= 0):
                    raise UserError(f"bad {key}", value=float(group[key]), mend="give a finite number of at least 0")
            for param in group["params"]:
                if not param.is_floating_point():
                    raise UserError(
                        "cannot optimize this dtype", value=str(param.dtype), mend="use real floating parameters"
                    )
        except UserError:
            self.param_groups.pop()
            raise

    # Eager under torch.compile, whose guards would retrace at every step count; torch.compiler.disable would load sympy here.
    @_disable_dynamo
    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update of every parameter that has a gradient; returns what ``closure`` returns, if given.

        Raises:
            UserError: If a gradient is sparse.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        every = [[param for param in group["params"] if param.grad is not None] for group in self.param_groups]
        _refuse_sparse(param for ready in every for param in ready)
        for group, ready in zip(self.param_groups, every, strict=True):
            self._settle([param for param in ready if not self._at_home(param)])
            packs: dict[_Pack, list[Tensor]] = {}
            for param in ready:
                packs.setdefault(self._home[param][0], []).append(param)
            for pack, members in packs.items():
                together = (
                    len(members) == len(pack.members) and len({float(self.state[p]["step"]) for p in members}) == 1
                )
                if together:
                    self._step(members, pack.coord, group)
                else:  # some have no gradient now, or started later
                    for param in members:
                        self._step([param], pack.parts[self._home[param][1]], group)
        return loss

    def _step(self, members: Sequence[Tensor], coord: Tensor, group: dict[str, Any]) -> None:
        step = int(self.state[members[0]]["step"])
        for param in members:
            self.state[param]["step"] = self.state[param]["step"] + 1  # never in place: a loaded state may be another's
        if len(members) == 1:
            self._step_alone(step, members[0], coord, group)
            return
        lr, decay = float(group["lr"]), float(group["lr"]) * float(group["weight_decay"])
        values = torch.cat([param.reshape(-1) for param in members]) if self._reads_params else None
        grad = torch.cat([_dense(param) for param in members]).to(coord.dtype)
        update = self._advance(step, grad.neg_() if group["maximize"] else grad, coord, values)
        for param, part in zip(members, torch.split(update, [param.numel() for param in members]), strict=True):
            if decay:
                param.mul_(1.0 - decay)
            _add(param, part.view(param.shape), lr)

    def _step_alone(self, step: int, param: Tensor, coord: Tensor, group: dict[str, Any]) -> None:
        """A parameter chunk by chunk, straight into its memory if it is contiguous."""
        lr, decay = float(group["lr"]), float(group["lr"]) * float(group["weight_decay"])
        direct = param.is_contiguous() and param.dtype == coord.dtype
        target = param.view(-1) if direct else param.to(coord.dtype).reshape(-1).clone()
        size = _limit(param.device)
        for piece, states, values in zip(
            *(torch.split(tensor, size) for tensor in (_dense(param), coord, target)), strict=True
        ):
            grad = piece.to(coord.dtype)
            update = self._advance(step, -grad if group["maximize"] else grad, states, values)
            if decay:
                values.mul_(1.0 - decay)
            values.add_(update, alpha=lr)
        if not direct:
            param.copy_(target.view(param.shape))

    def _at_home(self, param: Tensor) -> bool:
        """Whether the parameter's state is still the view that its pack holds (not so after loading a state)."""
        pack, index = self._home.get(param, (None, 0))
        return pack is not None and self.state[param].get("coord") is pack.views[index]

    def _settle(self, params: list[Tensor]) -> None:
        """Packs parameters, with the state that they have or a fresh one."""
        for members in _partition(params):
            dtype, device = _state_dtype(members[0]), members[0].device
            coord = self._new_coord(sum(param.numel() for param in members), dtype, device)
            parts = torch.split(coord, [param.numel() for param in members])
            views = tuple(_shaped(part, param.shape) for part, param in zip(parts, members, strict=True))
            pack = _Pack(tuple(members), coord, tuple(parts), views)
            for index, (param, view) in enumerate(zip(members, views, strict=True)):
                if "coord" in self.state[param]:
                    view.copy_(self.state[param]["coord"])
                self.state[param]["coord"] = view
                self.state[param].setdefault("step", torch.zeros((), dtype=torch.float32))
                self._home[param] = (pack, index)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As in ``torch.optim``; float32 state stays float32 under half-precision parameters.

        Raises:
            UserError: If the state is another rule's, or does not fit the parameters.
            ValueError: From torch, if the groups differ in number or size.
        """
        for group in state_dict["param_groups"]:
            if group.get("rule") != self._digest:
                raise UserError(
                    "the state belongs to another rule",
                    value=str(group.get("rule"))[:12],
                    mend=f"build the optimizer with the rule it was saved with (this one is {self._digest[:12]})",
                )
        super().load_state_dict(state_dict)
        saved = [index for group in state_dict["param_groups"] for index in group["params"]]
        own = [param for group in self.param_groups for param in group["params"]]
        for index, param in zip(saved, own, strict=True):
            if index not in state_dict["state"]:
                continue
            coord = state_dict["state"][index]["coord"]
            if coord.shape[:-1] != param.shape:
                raise UserError(
                    "the state does not fit", value=tuple(coord.shape), mend=f"expected {tuple(param.shape)} + [S]"
                )
            # torch has cast it to the parameter's dtype
            self.state[param]["coord"] = coord.to(device=param.device, dtype=_state_dtype(param), copy=True)
        self._home = {}

    def __repr__(self) -> str:
        name, _, groups = super().__repr__().partition("(")
        return f"{name}({self.formula}{groups}"

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), **{name: getattr(self, name) for name in self._kept}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__({**state, "_home": {}})


def _state_dtype(param: Tensor) -> torch.dtype:
    return torch.float64 if param.dtype == torch.float64 else torch.float32


def _shaped(coord: Tensor, shape: torch.Size) -> Tensor:
    """``coord [numel, S]`` viewed as ``[*shape, S]``, whichever of its axes is the slow one."""
    if coord.stride(0) == 1:
        return coord.t().view(coord.shape[1], *shape).movedim(0, -1)
    return coord.view(*shape, coord.shape[1])


def _refuse_sparse(params: Iterable[Tensor]) -> None:
    for param in params:
        if param.grad is not None and param.grad.layout != torch.strided:
            layout = str(param.grad.layout)
            raise UserError(
                "sparse gradients are not offered", value=layout, mend="build the embedding with sparse=False"
            )


def _dense(param: Tensor) -> Tensor:
    """The gradient as ``[numel]``, in row-major order whatever the strides."""
    assert param.grad is not None
    return param.grad.reshape(-1)


def _limit(device: torch.device) -> int:
    """Coordinates that are stepped as one vector."""
    return _PER_THREAD * torch.get_num_threads() if device.type == "cpu" else _ELSEWHERE


def _add(param: Tensor, update: Tensor, lr: float) -> None:
    if param.dtype == update.dtype:
        param.add_(update, alpha=lr)
    else:  # the sum is rounded once, not the update before it
        param.copy_(param.to(update.dtype).add_(update, alpha=lr))


def _partition(params: Iterable[Tensor]) -> list[list[Tensor]]:
    """Packs in order: small parameters of one device and dtype together, large ones alone (they need no copy)."""
    packs: list[list[Tensor]] = []
    open_packs: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
    for param in params:
        limit = _limit(param.device)
        key = (param.device, _state_dtype(param))
        if param.numel() >= limit:
            packs.append([param])
            continue
        pack = open_packs.get(key)
        if pack is None or sum(p.numel() for p in pack) + param.numel() > limit:
            pack = open_packs[key] = []
            packs.append(pack)
        pack.append(param)
    return packs
