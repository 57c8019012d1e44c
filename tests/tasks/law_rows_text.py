"""Rows of the table of laws: character models, autoencoders and text classifiers, at small sizes."""

from __future__ import annotations

from dataclasses import replace

from rayl2o.tasks.base import TaskFamily
from rayl2o.tasks.language.char_rnn import CharRNN
from rayl2o.tasks.language.char_transformer import CharTransformer
from rayl2o.tasks.language.text_classification import TextClassification
from rayl2o.tasks.networks.autoencoder import Autoencoder

_BERT = TextClassification(
    layers=1, hidden=8, heads=2, feedforward=8, vocabulary=40, positions=16, length=15, batch_size=4
)

ROWS: dict[str, TaskFamily] = {
    "char-rnn": CharRNN(cell="rnn", embedding=3, hidden=5, length=5, batch_size=3),
    "char-gru": CharRNN(cell="gru", embedding=3, hidden=4, length=5, batch_size=3, split="test"),
    "char-transformer": CharTransformer(d_model=4, heads=2, layers=2, length=5, batch_size=3),
    "autoencoder": Autoencoder(widths=(5, 2), batch_size=8),
    "autoencoder-squared": Autoencoder(widths=(3,), objective="squared", batch_size=8),
    "autoencoder-tanh": Autoencoder(widths=(4, 3), activation="tanh", batch_size=8, split="test"),
    "bert": _BERT,
    "bert-pair-dropout": replace(_BERT, data="grammar-paraphrase", dropout=0.1),
}
