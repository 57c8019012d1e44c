"""Values of a segment: everything that could reach a learner and harm it is refused, with its place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.trajectory.validate import check_shapes, check_values
from rayl2o.unroll.segment import Segment
from tests.trajectory.examples import VARIANTS, make_segment, named_tensors

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("variant", VARIANTS)
def test_good_segments_pass(variant: str) -> None:
    segment = VARIANTS[variant]()
    check_shapes(segment)
    check_values(segment, "x")
    check_values(segment, "x", size=11)


def put(name: str, index: tuple[int, ...], value: float) -> Callable[[Segment], Segment]:
    """A change of one entry."""

    def change(segment: Segment) -> Segment:
        tensor = getattr(segment, name).clone()
        tensor[index] = value
        return replace(segment, **{name: tensor})

    return change


def source(**values: Any) -> Callable[[Segment], Segment]:
    """A change of the provenance."""
    return lambda segment: replace(segment, source=replace(segment.source, **values))


def spec(text: str) -> Callable[[Segment], Segment]:
    """A change of the second instance's spec."""
    return lambda s: replace(s, source=replace(s.source, specs=(s.source.specs[0], text, s.source.specs[2])))


WHERE = r"FILE, slot 1, ordinal 2, segment 3, instance"

# Instance 2 of the example diverges after its first step, instances 0 and 1 are whole.
BAD: dict[str, tuple[Callable[[Segment], Segment], str]] = {
    "valid above U": (put("valid", (1,), 5), rf"valid must be in 0..4 \({WHERE} 1\): got 5;"),
    "valid below 0": (put("valid", (0,), -1), r"valid must be in 0..4 .*: got -1;"),
    "actor below 0": (put("actor", (1, 2), -1), rf"actor must be at least 0 \({WHERE} 1, entry 2\): got -1"),
    "coords below 0": (put("coords", (0, 3), -1), rf"coords must be in 0..10 \({WHERE} 0, entry 3\): got -1"),
    "coords above D": (put("coords", (2, 1), 11), rf"coords must be in 0..10 \({WHERE} 2, entry 1\): got 11"),
    "weight below 0": (put("weight", (0, 1), -0.5), rf"weight must be finite and >= 0 \({WHERE} 0, entry 1\): got -0.5"),
    "weight NaN": (put("weight", (0, 1), NAN), "weight must be finite and >= 0 .*: got nan"),
    "weight infinite": (put("weight", (0, 1), INF), "weight must be finite and >= 0 .*: got inf"),
    "grad NaN": (put("grad", (1, 2, 3), NAN), rf"grad must be finite before valid \({WHERE} 1, entry \[2, 3\]\): got nan"),
    "credit infinite": (put("credit", (1, 2, 3), -INF), "credit must be finite before valid .*: got -inf"),
    "delta NaN": (put("delta", (2, 0, 0), NAN), "delta must be finite before valid .*: got nan"),
    "grad NaN after valid": (put("grad", (2, 2, 3), NAN), "grad must be finite, from valid on, too .*: got nan"),
    "credit NaN after valid": (put("credit", (2, 1, 3), NAN), "credit must be finite, from valid on, too .*: got nan"),
    "credit after valid": (put("credit", (2, 1, 3), 1.0), rf"credit must be 0 from valid on \({WHERE} 2, entry \[1, 3\]"),
    "delta after valid": (put("delta", (2, 3, 0), 1.0), "delta must be 0 from valid on .*: got 1.0"),
    "loss NaN before valid": (put("loss", (1, 4), NAN), rf"loss must be finite before valid \({WHERE} 1, entry 4\): got nan"),
    "loss of the only valid step": (put("loss", (2, 1), INF), "loss must be finite before valid .*: got inf"),
    "coord_state NaN": (put("coord_state", (2, 1, 0), NAN), "coord_state must be free of NaN .*: got nan"),
    "tensor_state NaN": (put("tensor_state", (0, 1, 0), NAN), "tensor_state must be free of NaN .*: got nan"),
    "global_state NaN": (put("global_state", (0, 1), NAN), "global_state must be free of NaN .*: got nan"),
    "params NaN": (put("params", (0, 10), NAN), "params must be free of NaN .*: got nan"),
    "behaviour": (source(behaviour="studnt"), "unknown behaviour in FILE, .*: got 'studnt'; did you mean 'student'"),
    "status": (lambda s: replace(s, status=("ok", "okay", "ok")), rf"unknown status in {WHERE} 1: got 'okay'; did you mean 'ok'"),
    "spec not JSON": (spec("{'a': 1}"), rf"spec in {WHERE} 1 is not JSON .*: got \"{{'a': 1}}\""),
    "spec with NaN": (spec('{"a": NaN}'), "NaN is not JSON"),
    "spec too deep": (spec("[" * 10**5), "nested too deeply"),
    "spec not an object": (spec("[1]"), r"must be a JSON object: got '\[1\]'"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_values_are_named_with_their_place(name: str) -> None:
    change, message = BAD[name]
    segment = make_segment()
    with pytest.raises(UserError, match=message) as caught:
        check_values(change(segment), "FILE")
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    "change",
    [
        put("loss", (0, 0), NAN),  # the loss before the first step is not scored
        put("loss", (2, 4), NAN),
        put("grad", (2, 1, 0), 3.0),
        put("coord_state", (0, 0, 0), INF),  # a second moment may overflow: the update is 0 then
    ],
)
def test_what_may_happen_in_a_run_passes(change: Callable[[Segment], Segment]) -> None:
    check_values(change(make_segment()), "x")


def test_state_of_a_dead_instance_may_be_anything() -> None:
    dead = put("valid", (2,), 0)(make_segment())
    dead = put("credit", (2, 0), 0.0)(put("delta", (2, 0), 0.0)(dead))
    check_values(put("coord_state", (2, 1, 0), NAN)(put("loss", (2, 1), NAN)(dead)), "x")


def test_size_bounds_coordinates() -> None:
    segment = put("coords", (0, 0), 10)(make_segment(params=None))
    check_values(segment, "x")
    check_values(segment, "x", size=11)
    with pytest.raises(UserError, match=r"coords must be in 0..9 .*: got 10"):
        check_values(segment, "x", size=10)
    with pytest.raises(UserError, match=r"params of .* must have 10 coordinates: got 11"):
        check_values(make_segment(), "x", size=10)


@pytest.mark.parametrize("name", [name for name, _ in named_tensors(make_segment())])
def test_wrong_shapes_are_a_bug(name: str) -> None:
    segment = make_segment()
    tensor = getattr(segment, name)
    if name not in ("loss", "grad"):  # these say what K and U are
        with pytest.raises(ValueError, match=rf"{name} of a segment must be \[") as caught:
            check_shapes(put_whole(segment, name, tensor[:2]))
        assert not isinstance(caught.value, UserError)
    with pytest.raises((ValueError, IndexError)):
        check_shapes(put_whole(segment, name, tensor[0]))


def put_whole(segment: Segment, name: str, tensor: Tensor) -> Segment:
    """The segment with another tensor."""
    changes: dict[str, Any] = {name: tensor}
    return replace(segment, **changes)


def test_as_many_texts_as_instances() -> None:
    segment = make_segment()
    with pytest.raises(ValueError, match="3 instances needs as many status, got 1"):
        check_shapes(replace(segment, status=("ok",)))
    with pytest.raises(ValueError, match="3 instances needs as many specs, got 0"):
        check_shapes(source(specs=())(segment))


def test_an_empty_segment_is_a_bug() -> None:
    for bad in (make_segment(coords=0), put_whole(make_segment(), "loss", torch.zeros(0, 5))):
        with pytest.raises(ValueError, match="K, U, C >= 1"):
            check_shapes(bad)
