"""Weights as published with T: L2O-DM and RNNprop in the Sonnet layout, as one safetensors file each."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.rules.base import Phi
from rayl2o.rules.dm import DM
from rayl2o.rules.files import TENSORS_LIMIT, check_shapes, read_bytes, read_tensors
from rayl2o.rules.rnnprop import RnnProp

PREPROCESS_K = 5.0
OUTPUT_SCALE = 0.01
"""What the published DM and both rules were trained with; the files do not say."""

_NAME = re.compile(r"(?:lstm_([1-9])\.[wb]_gates|linear\.[wb]|input_projection\.[wb])")
_LAYOUT = "expected lstm_1.w_gates, lstm_1.b_gates, ..., linear.w, linear.b, and for RNNprop input_projection.w and .b"


def import_weights(path: str | os.PathLike[str]) -> tuple[DM | RnnProp, Phi]:
    """The rule and its weights (float32) from a published file; an input projection tells RNNprop from DM.

    Raises:
        UserError: If the file cannot be read or is torn, its layout is not the published one, or a tensor is missing, misshapen
            or not finite.
    """
    where = Path(path)
    tensors = read_tensors(read_bytes(where, TENSORS_LIMIT), str(where))
    names = {name: _NAME.fullmatch(name) for name in tensors}
    layers = {int(match[1]) for match in names.values() if match and match[1]}
    if not all(names.values()) or layers != set(range(1, len(layers) + 1)) or not layers:
        raise UserError(f"{where} has an unknown layout", value=sorted(tensors), mend=_LAYOUT)
    hidden = tuple(_width(tensors, f"lstm_{layer}", "_gates") // 4 for layer in sorted(layers))
    rule: DM | RnnProp
    if "input_projection.b" in tensors or "input_projection.w" in tensors:
        projection = _width(tensors, "input_projection", "")
        rule = RnnProp(projection=projection, hidden=hidden, output_scale=OUTPUT_SCALE)
    else:
        rule = DM(preprocess_k=PREPROCESS_K, hidden=hidden, output_scale=OUTPUT_SCALE)
    check_shapes(rule.network.shapes(), tensors, str(where))
    return rule, {name: tensors[name].to(torch.float32) for name in rule.network.shapes()}


def _width(tensors: Mapping[str, Tensor], map_name: str, suffix: str) -> int:
    """Outputs of a linear map, from its bias or else its matrix: whichever is missing is then named by the check of shapes."""
    bias = tensors.get(f"{map_name}.b{suffix}")
    either = tensors[f"{map_name}.w{suffix}"] if bias is None else bias
    return either.shape[-1] if either.dim() else 0
