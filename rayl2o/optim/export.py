"""A formula as a Python file of its own: a ``torch.optim`` optimizer that needs PyTorch and nothing of ours."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

from rayl2o import __version__
from rayl2o.rules.nodes import Const, Node, Var, fold, walk
from rayl2o.rules.operands import MOMENT_BETA, SIGN_LOG_RANGE, Ema, Lag, Operand, OperandBank, Signal
from rayl2o.rules.operators import OPERATORS, SATURATION, SMALLEST_DENOMINATOR
from rayl2o.rules.symbolic import SymbolicRule

CLASS = "FormulaOptimizer"

_LIMIT = "x.clamp(-SATURATION, SATURATION)"
_ROOT_FLOOR = 1e-24  # as rules/operators.py has it
# How an operator is written, and the definition that it needs in the file (None: torch has it).
_CALLS: Mapping[str, tuple[str, str | None]] = MappingProxyType(
    {
        "+": ("({0} + {1})", None),
        "-": ("({0} - {1})", None),
        "*": ("_mul({0}, {1})", "def _mul(x, y):\n    return _limit(x * y)"),
        "/": (
            "_div({0}, {1})",
            f"def _div(x, y):\n    safe = torch.where(y < 0, y.clamp(max=-{SMALLEST_DENOMINATOR!r}), "
            f"y.clamp(min={SMALLEST_DENOMINATOR!r}))\n    return _limit(x / safe)",
        ),
        "spow": (
            "_spow({0}, {1})",
            f"def _spow(x, y):\n    return torch.sign(x) * _exp(y * torch.log(x.abs().clamp(min={_ROOT_FLOOR!r})))",
        ),
        "neg": ("(-{0})", None),
        "abs": ("torch.abs({0})", None),
        "sign": ("torch.sign({0})", None),
        "square": ("_square({0})", "def _square(x):\n    return _limit(x * x)"),
        "ssqrt": (
            "_ssqrt({0})",
            f"def _ssqrt(x):\n    return torch.sign(x) * torch.sqrt(x.abs().clamp(min={_ROOT_FLOOR!r}))",
        ),
        "exp": ("_exp({0})", None),
        "tanh": ("torch.tanh({0})", None),
        "asinh": ("_asinh({0})", "def _asinh(x):\n    return torch.asinh(_limit(x))"),
        "sinh": (
            "_sinh({0})",
            "def _sinh(x):\n    return torch.sinh(x.clamp(-math.asinh(SATURATION), math.asinh(SATURATION)))",
        ),
        "relu": ("torch.relu({0})", None),
        "erfc": ("torch.special.erfc({0})", None),
    }
)
_EXP = "def _exp(x):\n    return torch.exp(x.clamp(-80.0, math.log(SATURATION)))"

# Two templates: a reader of the formula wants the first alone.
_UPDATE = '''{header}

from __future__ import annotations

import math

import torch

FORMULA = {formula!r}
BUFFERS = {buffers}  # floats of state per parameter
{helpers}

def update(grad, step, state):
    """The update for ``grad``, elementwise; advances ``state [BUFFERS, *grad.shape]`` in place. ``step`` counts from 0."""
{body}
'''
_CLASS = '''

class {cls}(torch.optim.Optimizer):
    """``params += lr * update``, after ``params *= 1 - lr * weight_decay``. The minus sign is in the formula."""

    def __init__(self, params, lr=1.0, weight_decay=0.0, *, maximize=False):
        for name, value in (("lr", lr), ("weight_decay", weight_decay)):
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{{name}} must be a finite number of at least 0, got {{value!r}}")
        super().__init__(params, {{"lr": lr, "weight_decay": weight_decay, "maximize": maximize}})

    @torch.no_grad()
    def step(self, closure=None):
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is not None:
                    self._step(param, group)
        return loss

    def _step(self, param, group):
        own, dtype = self.state[param], torch.float64 if param.dtype == torch.float64 else torch.float32
        if not own:
            own["step"] = torch.zeros(())
            own["buffers"] = torch.zeros(BUFFERS, *param.shape, dtype=dtype, device=param.device)
        own["buffers"] = own["buffers"].to(dtype)  # torch loads state in the dtype of the parameter
        grad = param.grad.to(dtype)
        delta = update(-grad if group["maximize"] else grad, int(own["step"]), own["buffers"])
        own["step"] = own["step"] + 1
        value = param.to(dtype) * (1 - group["lr"] * group["weight_decay"])
        param.copy_(value.add_(delta, alpha=group["lr"]))
'''


def python_source(rule: SymbolicRule) -> str:
    """Text of a module with ``update(grad, step, state)`` and the class ``FormulaOptimizer``.

    It computes what :class:`~rayl2o.optim.symbolic.SymbolicOptimizer` computes, up to rounding.
    """
    return python_update(rule) + _CLASS.format(cls=CLASS)


def python_update(rule: SymbolicRule) -> str:
    """Its first part: all that ``update(grad, step, state)`` needs, without an optimizer."""
    terms = rule.expression.linear_terms()
    operands = rule.expression.operands if terms is None else tuple(terms)
    bank = OperandBank(operands)
    lines = [*_operand_lines(bank), *_value_lines(rule, terms), *_finish_lines(rule)]
    helpers = _helpers(rule.expression.root) if terms is None else []
    return _UPDATE.format(
        header=_header(rule),
        formula=rule.formula,
        buffers=bank.state_size,
        helpers="".join(f"\n\n{helper}\n" for helper in helpers),
        body="\n".join(f"    {line}" for line in lines),
    ).replace("\n\n\n\n", "\n\n\n")


def _header(rule: SymbolicRule) -> str:
    """Comment lines; the rule's name may hold anything, so it goes in as its ``repr``."""
    return "\n".join(
        (
            f"# An optimizer exported by rayl2o {__version__} from the rule {rule.name!a}. Needs PyTorch only.",
            "#",
            f"#     {rule.pretty()}",
            "#",
            f"#     optimizer = {CLASS}(model.parameters())",
            f"# sha256 of the rule: {rule.digest}",
        )
    )


def _operand_lines(bank: OperandBank) -> list[str]:
    """Statements that advance the state and name the operands that are read; the order of the state is the bank's."""
    signals = set(bank.signals)
    lines: list[str] = []
    used = 0
    if signals & {"g_tilde", "m_tilde"}:
        keep = f"1 - {MOMENT_BETA!r}"
        if "m_tilde" in signals:
            lines.append(f"m = state[0].lerp_(grad, {keep})")
            used = 1
        lines.append(f"v = state[{used}].lerp_(grad * grad, {keep})")
        used += 1
        lines.append(f"correction = -math.expm1((step + 1) * math.log({MOMENT_BETA!r}))")
        lines.append("scale = torch.sqrt(v / correction) + 1e-08")
    definitions = {
        "g": "g = grad",
        "q": _sign_log_line(),
        "g_tilde": "g_tilde = grad / scale",
        "m_tilde": "m_tilde = m / correction / scale",
        "t": "t = torch.full_like(grad, step / 1000)",
    }
    if "q" in signals:
        scaled = f"x = grad * {math.exp(SIGN_LOG_RANGE)!r}"
        lines += [scaled, "clipped = x.clamp(-1.0, 1.0)"]
    lines += [text for name, text in definitions.items() if name in signals]
    depths: dict[str, int] = {}
    for operand in bank.operands:
        if isinstance(operand, Lag):
            depths[operand.signal] = max(depths.get(operand.signal, 0), operand.lag)
    for signal, depth in depths.items():
        part = f"state[{used}:{used + depth}]"
        lines.append(f"{signal}_past = {part}.clone()  # newest first")
        lines.append(f"{part}.copy_(torch.cat(({signal}[None], {signal}_past[:-1])))")
        used += depth
    for i, ema in enumerate(operand for operand in bank.operands if isinstance(operand, Ema)):
        lines.append(f"{_name(ema, bank)} = state[{used + i}].lerp_({ema.signal}, 1 - {ema.beta!r})  # {ema}")
    return lines


def _sign_log_line() -> str:
    return f"q = clipped * (1 + torch.log(x.abs().clamp(1.0, 1e38))) / {SIGN_LOG_RANGE!r}"


def _name(operand: Operand, bank: OperandBank) -> str:
    if isinstance(operand, Signal):
        return operand.name
    if isinstance(operand, Lag):
        return f"{operand.signal}_past[{operand.lag - 1}]"
    emas: list[Operand] = [other for other in bank.operands if isinstance(other, Ema)]
    return f"ema_{emas.index(operand) + 1}"


def _value_lines(rule: SymbolicRule, terms: Mapping[Operand, float] | None) -> list[str]:
    if terms is None:
        bank = OperandBank(rule.expression.operands)
        return [f"value = {_call(rule.expression.root, bank)}"]
    if not terms:
        return ["value = torch.zeros_like(grad)"]
    bank = OperandBank(tuple(terms))
    parts = [f"{weight!r} * {_name(operand, bank)}" for operand, weight in terms.items()]
    return ["value = (", *(f"    {'+ ' if i else ''}{part}" for i, part in enumerate(parts)), ")"]


def _call(root: Node, bank: OperandBank) -> str:
    """The formula as one Python expression; operands are limited as our evaluation limits them."""

    def combine(node: Node, parts: tuple[str, ...]) -> str:
        if isinstance(node, Const):
            return f"grad.new_tensor({node.value!r})"
        if isinstance(node, Var):
            return f"_limit({_name(node.operand, bank)})"
        return _CALLS[node.op][0].format(*parts)

    return fold(root, combine)


def _helpers(root: Node) -> list[str]:
    """Definitions of the operators that the formula uses, each once."""
    used = {node.op for node, _ in walk(root) if not isinstance(node, Const | Var)}
    found = [f"SATURATION = {SATURATION!r}\n\n\ndef _limit(x):\n    return {_LIMIT}"]
    if used & {"exp", "spow"}:
        found.append(_EXP)
    ordered = (_CALLS[name][1] for name in OPERATORS if name in used)
    return found + [text for text in ordered if text is not None]


def _finish_lines(rule: SymbolicRule) -> list[str]:
    text = "value" if rule.clamp is None else f"value.clamp(-{rule.clamp!r}, {rule.clamp!r})"
    text = text if rule.gain == 1.0 else f"{rule.gain!r} * {text}"
    broadcast = rule.expression.linear_terms() is None and not rule.expression.operands
    return [f"return {text}.expand_as(grad)" if broadcast else f"return {text}"]
