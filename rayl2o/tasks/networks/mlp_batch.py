"""K multilayer perceptrons at once: gradient and Hessian-vector product by hand, without autograd."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from rayl2o.layout import Layout
from rayl2o.tasks.data import DataSet
from rayl2o.tasks.instances import normal_rows, require_one_each
from rayl2o.tasks.minibatch import Minibatch, Part, draw_minibatch
from rayl2o.tasks.networks.activation import Activation
from rayl2o.tasks.subset import Subsets


@dataclass(frozen=True, eq=False)
class MLPBatch:
    """K classifiers on one data set; losses in nats per example, averaged over the minibatch.

    Attributes:
        layout: Weights ``[in, out]`` and biases ``[out]`` from the input up.
        k: Number of instances.
        data: What minibatches are drawn from; its dtype is that of params.
        activation: Between the layers.
        batch_size: B.
        init_std: All of params start from N(0, init_std^2).
        centre: Subtracted from the inputs as they are gathered, so that the data set stays one copy for everybody.
        subsets: The examples that each instance draws from; None for all.
    """

    layout: Layout
    k: int
    data: DataSet
    activation: Activation
    batch_size: int
    init_std: float
    centre: float = 0.0
    subsets: Subsets | None = None

    def init_params(self, seeds: Sequence[int]) -> Tensor:
        """Fresh params ``[K, D]``, row k from ``seeds[k]``."""
        require_one_each(seeds, self.k)
        return normal_rows(seeds, self.layout.size, self.init_std).to(self.data.inputs)

    def draw_batch(self, seeds: Sequence[int]) -> Minibatch:
        """A minibatch per instance, row k from ``seeds[k]``, with replacement."""
        require_one_each(seeds, self.k)
        inputs = self.data.inputs
        example_bytes = inputs.shape[1] * inputs.element_size()
        count = len(inputs) if self.subsets is None else len(self.subsets.rows[self.subsets.seeds[0]])
        return draw_minibatch(seeds, count, self.batch_size, example_bytes, inputs.device, self.subsets)

    def loss_and_grad(self, params: Tensor, batch: Minibatch) -> tuple[Tensor, Tensor]:
        """Losses ``[K]`` and gradients ``[K, D]`` at ``params [K, D]``; no graph."""
        with torch.no_grad():
            params = params.contiguous()
            grads = torch.empty_like(params)
            if len(batch.parts) == 1:
                return self._backward(params, batch.parts[0], grads), grads
            losses = params.new_empty(self.k)
            for part in batch.parts:
                grad = grads[part.members]
                losses[part.members] = self._backward(params[part.members], part, grad)
                if isinstance(part.members, Tensor):  # then ``grad`` is a copy, not a view
                    grads[part.members] = grad
            return losses, grads

    def hvp(self, params: Tensor, batch: Minibatch, vector: Tensor) -> Tensor:
        """Hessian-vector products ``[K, D]`` with ``vector [K, D]``; no graph."""
        with torch.no_grad():
            params, vector = params.contiguous(), vector.contiguous()
            products = torch.empty_like(params)
            for part in batch.parts:
                product = products[part.members]
                self._tangent_backward(params[part.members], vector[part.members], part, product)
                if isinstance(part.members, Tensor):
                    products[part.members] = product
            return products

    def loss(self, params: Tensor, batch: Minibatch) -> Tensor:
        """Losses ``[K]``, differentiable twice in ``params [K, D]``."""
        rows = batch.rows()
        values = self._inputs(rows)
        tensors = list(self.layout.unflatten(params).values())
        for weight, bias in zip(tensors[:-2:2], tensors[1:-2:2], strict=True):
            values = self.activation.forward(torch.baddbmm(bias.unsqueeze(1), values, weight))
        logits = torch.baddbmm(tensors[-1].unsqueeze(1), values, tensors[-2])
        return cross_entropy(logits.mT, self.data.labels[rows], reduction="none").mean(1)

    @cached_property
    def _shapes(self) -> list[tuple[int, int, int]]:
        """Fan-in, fan-out and offset of each weight; its bias follows it."""
        weights = zip(self.layout.shapes[::2], self.layout.offsets[::2], strict=True)
        return [(shape[0], shape[1], offset) for shape, offset in weights]

    def _layers(self, flat: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Weight ``[m, in, out]`` and bias ``[m, out]`` of each layer: ``Layout.unflatten`` by half as many, cheaper views."""
        m, row, start = len(flat), flat.stride(0), flat.storage_offset()
        return [
            (
                flat.as_strided((m, fan_in, fan_out), (row, fan_out, 1), start + offset),
                flat.as_strided((m, fan_out), (row, 1), start + offset + fan_in * fan_out),
            )
            for fan_in, fan_out, offset in self._shapes
        ]

    def _inputs(self, rows: Tensor) -> Tensor:
        """Inputs ``[m, B, F]`` of the examples ``rows [m, B]``."""
        inputs = torch.embedding(self.data.inputs, rows)
        return inputs.sub_(self.centre) if self.centre else inputs

    def _gather(self, part: Part, members: int) -> tuple[Tensor, Tensor]:
        """Inputs ``[m, B, F]`` and labels ``[m, 1, B]`` of one part; a shared minibatch is expanded, not copied."""
        inputs = self._inputs(part.rows).expand(members, -1, -1)
        return inputs, self.data.labels.take(part.rows).unsqueeze(1).expand(members, -1, -1)

    def _backward(self, params: Tensor, part: Part, grad: Tensor) -> Tensor:
        """Losses ``[m]``; writes the gradients into ``grad [m, D]``."""
        inputs, labels = self._gather(part, len(params))
        layers, grads = self._layers(params), self._layers(grad)
        values = [inputs]
        for weight, bias in layers[:-1]:
            values.append(self.activation.forward(_project(values[-1], weight, bias)))
        log_p = _project_top(values[-1], *layers[-1]).log_softmax(1)
        losses = log_p.gather(1, labels).sum((1, 2)).div_(-log_p.shape[2])
        cotangent = _residual(log_p.exp_(), labels)
        grads[-1][0].copy_(torch.bmm(cotangent, values[-1]).mT)
        torch.sum(cotangent, 2, out=grads[-1][1])
        cotangent = cotangent.mT
        for i in range(len(layers) - 2, -1, -1):
            cotangent = self.activation.chain(torch.bmm(cotangent, layers[i + 1][0].mT), values[i + 1])
            torch.bmm(values[i].mT, cotangent, out=grads[i][0])
            torch.sum(cotangent, 1, out=grads[i][1])
        return losses

    def _tangent_backward(self, params: Tensor, vector: Tensor, part: Part, product: Tensor) -> None:
        """Pearlmutter's R-operator: the tangent of the backward pass along ``vector``, written into ``product [m, D]``."""
        inputs, labels = self._gather(part, len(params))
        layers, directions, products = self._layers(params), self._layers(vector), self._layers(product)
        chain, bend, top = self.activation.chain, self.activation.bend, len(layers) - 1
        values, tangents = [inputs], [inputs]  # tangents[0] is never read: the inputs do not depend on params
        for i in range(top):
            tangent = _project(values[i], *directions[i])
            if i:
                tangent.baddbmm_(tangents[i], layers[i][0])
            values.append(self.activation.forward(_project(values[i], *layers[i])))
            tangents.append(chain(tangent, values[-1]))
        p = _project_top(values[top], *layers[top]).softmax(1)
        tangent = _project_top(values[top], *directions[top])
        if top:
            tangent.baddbmm_(layers[top][0].mT, tangents[top].mT)
        tangent = torch.ops.aten._softmax_backward_data(tangent.div_(p.shape[2]), p, 1, p.dtype)
        cotangent = _residual(p, labels)
        weight_product = torch.bmm(tangent, values[top])
        if top:
            weight_product.baddbmm_(cotangent, tangents[top])
        products[top][0].copy_(weight_product.mT)
        torch.sum(tangent, 2, out=products[top][1])
        tangent, cotangent = tangent.mT, cotangent.mT
        for i in range(top - 1, -1, -1):
            weight, v_weight, a = layers[i + 1][0].mT, directions[i + 1][0].mT, values[i + 1]
            back = torch.bmm(cotangent, weight)
            tangent = chain(torch.bmm(tangent, weight).baddbmm_(cotangent, v_weight), a)
            if bend is not None:
                tangent.addcmul_(bend(a).mul_(tangents[i + 1]), back)
            torch.bmm(values[i].mT, tangent, out=products[i][0])
            torch.sum(tangent, 1, out=products[i][1])
            if i:
                cotangent = chain(back, a)
                products[i][0].baddbmm_(tangents[i].mT, cotangent)


def _project(values: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """``values [m, B, in] @ weight [m, in, out] + bias [m, out]``, ``[m, B, out]``."""
    return torch.baddbmm(bias.unsqueeze(1), values, weight)


def _project_top(values: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """As :func:`_project`, but ``[m, out, B]``: a softmax over few classes is 10 times faster along a middle axis."""
    return torch.baddbmm(bias.unsqueeze(2), weight.mT, values.mT)


def _residual(p: Tensor, labels: Tensor) -> Tensor:
    """``(p - onehot) / B``, ``[m, C, B]``, the gradient of the mean cross entropy in the logits; overwrites ``p``."""
    return p.scatter_add_(1, labels, p.new_full(labels.shape, -1.0)).div_(p.shape[2])
