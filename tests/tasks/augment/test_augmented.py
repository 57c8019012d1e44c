from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.seeds import derive_seed, generator
from rayl2o.tasks.analytic.quadratic import Quadratic, QuadraticBatch
from rayl2o.tasks.augment.augmented import NAMED, Augmented
from rayl2o.tasks.augment.convex import Convex, ConvexBatch
from rayl2o.tasks.augment.gradient_noise import GradientNoise
from rayl2o.tasks.augment.kinds import KINDS
from rayl2o.tasks.augment.linear import LinearBatch
from rayl2o.tasks.augment.loss_rescaling import LossRescaling
from rayl2o.tasks.augment.restart import Restart
from rayl2o.tasks.augment.scaling import Scaling
from rayl2o.tasks.base import TaskFamily, TaskSpec
from rayl2o.tasks.mixed_batch import MixedBatch
from rayl2o.tasks.named import NamedTask
from rayl2o.tasks.networks.mlp import MLP
from tests.tasks.augment.pairs import NETWORK, QUADRATIC, made_by, make, pair
from tests.tasks.law_rows_augment import COMPOSITIONS, ROWS

SETTINGS = {
    "inner": {"name": "quadratic", "settings": {"size": 3}},
    "with": [{"kind": "scaling", "low": -1}, {"kind": "convex", "size": 2}],
}


def augmented(settings: dict[str, Any]) -> Augmented:
    found = make("augmented", settings)
    assert isinstance(found, Augmented)
    return found


def test_settings_describe_a_family() -> None:
    found = augmented(SETTINGS)
    assert found == Augmented(Quadratic(3), (Scaling(-1.0, 3.0), Convex(2)))
    assert isinstance(found, TaskFamily)
    assert augmented({}) == Augmented(Quadratic(), (Scaling(),))
    named = augmented({"inner": {"name": "mlp-deeper", "settings": {"batch_size": 8}}, "with": []})
    assert named == Augmented(MLP(hidden=(20, 20), batch_size=8), ())


def test_a_spec_is_plain_data_with_everything_in_it() -> None:
    family = augmented(SETTINGS)
    spec = family.sample(generator("any"))
    assert spec.settings == {
        "inner": {"name": "quadratic", "settings": {"size": 3, "log10_smallest": -3.0, "log10_largest": 0.0}},
        "with": [
            {"kind": "scaling", "low": -1.0, "high": 3.0},
            {"kind": "convex", "size": 2, "weight": 1.0, "scaling": 0.0, "variant": "paper"},
        ],
    }
    again = TaskSpec.from_json(json.loads(json.dumps(spec.to_json())))
    assert again == spec
    assert made_by(again) == family
    assert family.sample(generator("other")).seed != spec.seed


def test_a_family_without_augmentations_is_the_inner_one() -> None:
    found = pair(QUADRATIC, k=2)
    assert isinstance(found.augmented, QuadraticBatch)
    assert torch.equal(found.augmented.optimum, found.plain.optimum)  # type: ignore[attr-defined]


def test_the_first_augmentation_is_next_to_the_task() -> None:
    inside = pair(QUADRATIC, Scaling(), Convex(size=2))
    assert isinstance(inside.augmented, ConvexBatch)
    outside = pair(QUADRATIC, Convex(size=2), Scaling())
    assert isinstance(outside.augmented, LinearBatch)
    p = torch.zeros(3, 8, dtype=torch.float64)
    p[:, 6:] = 1
    slopes = [found.augmented.loss_and_grad(p, None)[1][:, 6:] for found in (inside, outside)]
    assert (slopes[0] - slopes[1]).abs().min() > 1e-3  # only there does the scaling reach the bowl


def test_an_augmentation_of_another_kind_does_not_change_what_the_others_draw() -> None:
    plain, rescaled = pair(QUADRATIC, Scaling()), pair(QUADRATIC, LossRescaling(), Scaling())
    assert torch.equal(plain.augmented.init_params([1, 2, 3]), rescaled.augmented.init_params([1, 2, 3]))


def test_an_augmentation_twice_draws_twice() -> None:
    once, twice = pair(QUADRATIC, Scaling()), pair(QUADRATIC, Scaling(), Scaling())
    x, y, z = (tasks.init_params([1, 2, 3]) for tasks in (once.plain, once.augmented, twice.augmented))
    first, second = (x / y).log(), (y / z).log()
    assert (first - second).abs().min() > 1e-4


def test_everything_random_comes_from_the_seed_of_the_spec() -> None:
    family, rng = Augmented(QUADRATIC, (Scaling(), GradientNoise(), LossRescaling(), Convex())), generator("any")
    one, two = family.sample(rng), family.sample(rng)
    built = family.build([one, two, one], dtype=torch.float64)
    x = torch.ones(3, built.layout.size, dtype=torch.float64)
    loss, grad = built.loss_and_grad(x, built.draw_batch([1, 1, 1]))
    torch.testing.assert_close(loss[0], loss[2])
    torch.testing.assert_close(grad[0], grad[2])
    assert (grad[0] - grad[1]).abs().min() > 1e-6


def test_defaults_may_be_left_out_of_a_spec() -> None:
    full = Augmented().sample(generator("any"))
    bare = TaskSpec("augmented", {}, full.seed)
    named = TaskSpec("augmented", {"inner": {"name": "quadratic"}, "with": [{"kind": "scaling"}]}, full.seed)
    starts = [made_by(spec).build([spec]).init_params([1]) for spec in (full, bare, named)]
    assert torch.equal(starts[0], starts[1])
    assert torch.equal(starts[0], starts[2])


@dataclass(frozen=True)
class Sizes:
    """Quadratics of random sizes; a family of the kind whose specs are of another family."""

    family: ClassVar[str] = "sizes"

    def sample(self, generator: torch.Generator) -> TaskSpec:
        """A quadratic of 2 to 4 coordinates."""
        return Quadratic(2 + int(torch.randint(3, (), generator=generator))).sample(generator)

    def build(self, specs: Any, device: Any = "cpu", dtype: torch.dtype = torch.float32) -> Any:
        """Of equal sizes only."""
        return made_by(specs[0]).build(specs, device, dtype)


def test_an_inner_family_may_draw_its_settings() -> None:
    family, rng = Augmented(Sizes(), (Scaling(), Restart(steps=3, lr=0.1))), generator("sizes")
    specs = [family.sample(rng) for _ in range(8)]
    assert {made_by(spec).layout.size for spec in specs} == {2, 3, 4}  # type: ignore[attr-defined]
    together = family.build(specs, dtype=torch.float64)
    assert isinstance(together, MixedBatch)
    starts = together.init_params(range(8))
    for row, spec in enumerate(specs):
        alone = made_by(spec).build([spec], dtype=torch.float64)
        size = alone.layout.size
        assert torch.equal(alone.init_params([row])[0], starts[row, :size])
        assert not starts[row, size:].any()
    assert getattr(family, "layout", None) is None


def test_augmented_tasks_can_be_augmented() -> None:
    inner = Augmented(QUADRATIC, (Scaling(),))
    family = Augmented(inner, (LossRescaling(),))
    spec = family.sample(generator("any"))
    assert made_by(spec) == family
    below = TaskSpec(
        "augmented", dict(inner.sample(generator("any")).settings), derive_seed("augmented", "inner", spec.seed)
    )
    one, two = family.build([spec]), inner.build([below])
    assert torch.equal(one.init_params([1]), two.init_params([1]))


def test_specs_of_other_families_or_augmentations_are_refused() -> None:
    family = Augmented(QUADRATIC, (Scaling(),))
    with pytest.raises(ValueError, match="at least one spec"):
        family.build([])
    with pytest.raises(UserError, match="build specs of 'augmented' only"):
        family.build([QUADRATIC.sample(generator("any"))])
    with pytest.raises(UserError, match="specs of different augmentations"):
        family.build([Augmented(QUADRATIC, (LossRescaling(),)).sample(generator("any"))])
    with pytest.raises(UserError, match="build specs of 'quadratic' only"):
        family.build([Augmented(NETWORK, (Scaling(),)).sample(generator("any"))])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"inne": {}}, "unknown setting of task 'augmented': got 'inne'; did you mean 'inner'?"),
        ({"steps": []}, "known: inner, with"),
        ({"inner": "quadratic"}, "write it like {name: mlp"),
        ({"inner": {"settings": {}}}, "setting augmented.inner needs a task's name"),
        ({"inner": {"name": "quadratic", "settings": 3}}, "setting augmented.inner needs a task's name"),
        ({"inner": {"name": "quadratic", "setting": {}}}, "did you mean 'settings'?"),
        ({"inner": {"name": "quadratics"}}, "did you mean 'quadratic'?"),
        ({"inner": {"name": "quadratic", "settings": {"size": 0}}}, "quadratic.size is too small"),
        ({"with": "scaling"}, "setting augmented.with is not a list"),
        ({"with": {"kind": "scaling"}}, "write it like [{kind: scaling}"),
        ({"with": ["scaling"]}, "an augmentation is a mapping with a kind"),
        ({"with": [{"kind": "scaling", "low": 9.0}]}, "range of the scaling is bad"),
    ],
)
def test_mistakes(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        make("augmented", settings)
    assert message in str(caught.value)


def test_the_compositions_in_the_law_table_are_mixed_enough() -> None:
    orders = {tuple(step.kind for step in row.steps) for name, row in ROWS.items() if "random" in name}
    assert len(orders) == len(COMPOSITIONS) == 5
    assert {kind for order in orders for kind in order} == set(KINDS)


@pytest.mark.parametrize("name", NAMED)
def test_named_tasks(name: str) -> None:
    named: NamedTask = NAMED[name]
    family = augmented({**named.defaults, **named.fixed})
    built = family.build([family.sample(generator("any"))])
    loss, _ = built.loss_and_grad(built.init_params([1]), built.draw_batch([2]))
    assert torch.isfinite(loss).all()


def test_the_training_task_of_lv() -> None:
    family = augmented({**NAMED["mlp-lv"].defaults, **NAMED["mlp-lv"].fixed})
    assert family.inner == MLP(init_std=0.1)
    assert family.steps == (Scaling(-3.0, 3.0), Convex(20, 1.0, 1.0, "code"))
    assert family.layout.size == 64 * 20 + 20 + 20 * 10 + 10 + 20
