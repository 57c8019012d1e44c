"""Every family and every named task of this package. A module that brings some names them here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from rayl2o.tasks.analytic import (
    dm_quadratic,
    lasso,
    linear_regression,
    logistic_regression,
    matrix_factorisation,
    noisy_quadratic,
    rastrigin,
    rosenbrock,
)
from rayl2o.tasks.analytic.quadratic import Quadratic
from rayl2o.tasks.augment import augmented
from rayl2o.tasks.language import char_rnn, char_transformer, text_classification
from rayl2o.tasks.mixture import Mixture
from rayl2o.tasks.named import NamedTask
from rayl2o.tasks.networks import autoencoder, mlp, random_mlp, two_moons
from rayl2o.tasks.vision import conv_net, mobilenet, nas_cell, resnet


def _by_name(parts: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    found: dict[str, Any] = {}
    for part in parts:
        if twice := set(found) & set(part):
            raise ValueError(f"two tasks of one name: {sorted(twice)}")
        found |= part
    return MappingProxyType(found)


FAMILIES: Mapping[str, type] = MappingProxyType(
    {
        family.family: family
        for family in (
            Quadratic,
            linear_regression.LinearRegression,
            rosenbrock.Rosenbrock,
            two_moons.TwoMoons,
            mlp.MLP,
            conv_net.ConvNet,
            nas_cell.NASCell,
            dm_quadratic.DMQuadratic,
            rastrigin.Rastrigin,
            resnet.ResNet,
            mobilenet.MobileNetV2,
            lasso.Lasso,
            logistic_regression.LogisticRegression,
            matrix_factorisation.MatrixFactorisation,
            noisy_quadratic.NoisyQuadratic,
            autoencoder.Autoencoder,
            char_rnn.CharRNN,
            char_transformer.CharTransformer,
            text_classification.TextClassification,
            Mixture,
            random_mlp.RandomMLP,
            augmented.Augmented,
        )
    }
)
"""Families by name."""
NAMED: Mapping[str, NamedTask] = _by_name(
    module.NAMED
    for module in (
        linear_regression,
        rosenbrock,
        two_moons,
        mlp,
        conv_net,
        nas_cell,
        dm_quadratic,
        rastrigin,
        resnet,
        mobilenet,
        text_classification,
        lasso,
        logistic_regression,
        matrix_factorisation,
        noisy_quadratic,
        autoencoder,
        char_rnn,
        char_transformer,
        augmented,
    )
)
"""Named tasks. One may have the name of its family, if it is the family with its defaults."""
