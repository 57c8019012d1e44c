from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy

from rayl2o.tasks.language.char_rnn import CharRNN
from rayl2o.tasks.language.char_transformer import CharTransformer
from rayl2o.tasks.language.next_character import NextCharacter, mean_cross_entropy


def test_cross_entropy_is_a_mean_per_instance() -> None:
    logits = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([[[0, 1], [2, 3], [1, 1]], [[3, 3], [2, 0], [0, 0]]])
    expected = torch.stack([cross_entropy(logits[k], targets[k].flatten()) for k in range(2)])
    torch.testing.assert_close(mean_cross_entropy(logits, targets), expected)


def test_nothing_is_drawn_but_start_and_windows() -> None:
    rng = torch.Generator().manual_seed(1)
    before = rng.get_state()
    families: list[NextCharacter] = [CharRNN(), CharTransformer()]
    for family in families:
        spec = family.sample(rng)
        assert spec.seed == 0
        assert spec.family == family.family
    assert torch.equal(rng.get_state(), before)


def test_all_windows_are_drawn_from_the_split() -> None:
    train, test = CharRNN(batch_size=400), CharRNN(batch_size=400, split="test")
    one, two = (family.build([family.sample(torch.Generator())]).draw_batch([1]) for family in (train, test))
    assert two.max() < 35_474 < one.max()
