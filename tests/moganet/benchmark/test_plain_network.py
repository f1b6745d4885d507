"""The network written down twice, independently, computes the same: values, statistics and gradients."""

from itertools import product

import torch

from helpers.cases import for_each
from helpers.official import relative_error, state_dict
from moganet import MogaNet, ops
from moganet.benchmark.plain_network import PlainMogaNet


@for_each(product(['xtiny', 'tiny', 'small'], [False, True]))
def test_plain_network_agrees_in_value_and_gradient(arch, train):
    weights = {name: tensor for name, tensor in state_dict(arch).items() if not name.startswith('head.')}
    models = [MogaNet(arch), PlainMogaNet(arch)]
    x = torch.randn(2, 3, 64, 96)
    for model in models:
        model.load_state_dict(weights)
        model.train(train)
    with ops.use('reference'):
        ours, plain = models[0](x)[-1], models[1](x)
    assert relative_error(ours, plain.detach()) < 1e-5
    for out in (ours, plain):
        out.square().mean().backward()
    for (name, a), b in zip(sorted(models[0].named_parameters()), sorted(models[1].named_parameters()), strict=True):
        assert name == b[0]
        assert relative_error(a.grad, b[1].grad) < 1e-4, name
