"""Averages of the weights, as in the recipes."""

from pathlib import Path

import pytest
import torch
from mmengine.model import ExponentialMovingAverage
from mmengine.registry import MODELS
from torch import nn

from mogacls import WarmupEMA
from moganet.run.config import load_config

CONFIGS = Path(__file__).parents[2] / 'configs/cls'


def scalar(value: float) -> nn.Module:
    """A model of one weight."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, value)
    return model


def run(ema: WarmupEMA, values: list[float]) -> list[float]:
    """Return the momentum of each step while the model's weight has ``values``."""
    momenta = []
    for value in values:
        ema.update_parameters(scalar(value))
        momenta.append(ema.momentum)
    return momenta


def test_warmup_ema_decay_rises_exponentially_from_09_to_09999():
    momenta = run(WarmupEMA(scalar(0.0), warmup_steps=4), [0.0] * 7)
    # 0.1 to 1e-4 in four equal ratios of 10 ** -0.75.
    expected = [1e-1, 1.778279410e-2, 3.162277660e-3, 5.623413252e-4, 1e-4, 1e-4, 1e-4]
    assert momenta == pytest.approx(expected, rel=1e-9)


def test_warmup_ema_averages_with_the_momentum_of_the_step():
    ema = WarmupEMA(scalar(0.0), momentum=0.01, start_momentum=0.5, warmup_steps=2)
    run(ema, [1.0, 2.0, 4.0])
    # The first step copies. Then 0.5 * (0.01 / 0.5) ** 0.5, then 0.01.
    second = 1 + (2 - 1) * 0.5 * 0.02**0.5
    assert ema.module.weight.item() == pytest.approx(second + (4 - second) * 0.01, rel=1e-6)


def test_warmup_ema_goes_on_after_a_resume():
    straight = WarmupEMA(scalar(0.0), warmup_steps=6)
    momenta = run(straight, [1.0, 2.0, 3.0, 4.0])
    first = WarmupEMA(scalar(0.0), warmup_steps=6)
    run(first, [1.0, 2.0])
    resumed = WarmupEMA(scalar(0.0), warmup_steps=6)
    resumed.load_state_dict(first.state_dict())
    assert run(resumed, [3.0, 4.0]) == momenta[2:]
    assert torch.equal(resumed.module.weight, straight.module.weight)


def test_warmup_ema_is_an_ema_type_of_the_hook():
    built = MODELS.build(dict(type='WarmupEMA', model=scalar(1.0), interval=2, update_buffers=True))
    assert (built.interval, built.update_buffers, built.warmup_steps) == (2, True, 25040)


@pytest.mark.parametrize(
    ('options', 'match'),
    [
        (dict(momentum=0.2), 'momentum=0.2, start_momentum=0.1'),
        (dict(start_momentum=1.0), 'start_momentum=1.0'),
        (dict(momentum=0.0), 'momentum=0.0'),
        (dict(warmup_steps=0), 'warmup_steps=0'),
    ],
)
def test_warmup_ema_refuses_what_it_cannot_do(options, match):
    with pytest.raises(ValueError, match=match):
        WarmupEMA(scalar(1.0), **options)


def test_released_ema_averages_weights_and_norm_statistics_at_09999():
    (hook,) = [h for h in load_config(CONFIGS / 'moganet_s.py').custom_hooks if h['type'] == 'EMAHook']
    options = {key: value for key, value in hook.items() if key != 'type'}
    model = nn.BatchNorm1d(2)
    ema = ExponentialMovingAverage(model, **options)
    averaged = {}
    for step in range(4):
        model.weight.data.fill_(step)
        model.running_mean.fill_(10 * step)
        ema.update_parameters(model)
        for name, value in (('weight', step), ('running_mean', 10 * step)):
            averaged[name] = value if step == 0 else 0.9999 * averaged[name] + 0.0001 * value
    for name, value in averaged.items():
        assert getattr(ema.module, name).tolist() == pytest.approx([value, value], rel=1e-5)
