"""The benchmark compares the pairs that it names. Speed itself is not tested."""

import pytest
import torch

from moganet.benchmark import Result
from mogavideo import benchmark, mini
from mogavideo.datasets import MovingImages


class Model(torch.nn.Module):
    """Counts its training clips."""

    in_shape = (10, 1, 64, 64)

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))
        self.seen = []

    def forward(self, inputs, targets=None, mode='tensor'):
        self.seen.append((mode, self.training, torch.is_grad_enabled(), tuple(inputs.shape)))
        return dict(loss=(self.weight * inputs - targets).square().mean()) if mode == 'loss' else inputs


def one_turn(calls, rounds):
    """Run each call once and return fixed times: 100 ms for the first, 50 ms more for each later call."""
    for call in calls.values():
        call()
    return {name: [100.0 + 50 * i] * rounds for i, name in enumerate(calls)}


def test_loader_is_compared_clip_by_clip(mini_video, monkeypatch):
    monkeypatch.setattr(mini, 'ROOT', str(mini_video))
    monkeypatch.setattr(mini, 'make', lambda: None)

    # A round of loading takes two thirds of the time of a round of training, and has 32 times the clips.
    monkeypatch.setattr(benchmark, 'time_interleaved', one_turn)
    model = Model()
    result = benchmark.loader(model, rounds=3)
    assert model.seen == [('loss', True, True, (2, 10, 1, 64, 64))]
    assert model.weight.grad is None
    assert result == Result(
        'a clip made on the fly, one process', 'training step, per clip', 1.5625, 75.0, pytest.approx(1 / 48), 0.25
    )


def test_each_call_loads_other_clips(mini_video):
    load = benchmark.loading(MovingImages(str(mini_video)), clips=3)
    first, second = load(), load()
    assert first['inputs'].shape == (3, 10, 1, 64, 64)
    clips = torch.cat([first['inputs'], second['inputs']])
    assert not any(torch.equal(clips[i], clips[j]) for i in range(6) for j in range(i))


def test_moganet_is_compared_with_each_baseline_in_training_and_inference(monkeypatch):
    built = {}
    monkeypatch.setattr(benchmark, 'SimVP', lambda translator: built.setdefault(translator, Model()))
    monkeypatch.setattr(benchmark, 'time_interleaved', one_turn)
    results = benchmark.translators(rounds=2)
    assert list(built) == ['moganet', 'van', 'hornet', 'convnext']
    frames = (2, 10, 1, 64, 64)
    assert all(
        model.seen == [('loss', True, True, frames), ('tensor', False, False, frames)] for model in built.values()
    )
    assert [(r.name.split(',')[0], r.baseline, round(r.ratio, 6), r.goal) for r in results] == [
        (task, baseline, round(100 / ms, 6), goal)
        for task in ('training step', 'inference')
        for baseline, ms, goal in (('van', 150, 1.0), ('hornet', 200, 1.0), ('convnext', 250, None))
    ]


def test_clips_per_second_stand_beside_the_papers(monkeypatch):
    monkeypatch.setattr(benchmark, 'SimVP', lambda translator: Model())
    monkeypatch.setattr(benchmark, 'time_interleaved', one_turn)
    found = {row.name: row.as_dict() for row in benchmark.throughput(rounds=3)}
    assert len(found) == 12
    assert {row['clips_per_s'] for row in found.values()} == {20.0}
    # Paper Table A14 and the released README.
    printed = dict(
        incepu=209,
        gsta=282,
        vit=290,
        swin=294,
        uniformer=296,
        mlpmixer=334,
        convmixer=658,
        poolformer=341,
        convnext=344,
        van=288,
        hornet=287,
        moganet=255,
    )
    assert {name.split()[-1]: row['FPS (V100)'] for name, row in found.items()} == printed
    line = benchmark.Throughput('inference, SimVP with moganet', 2.5, '255').line()
    assert line.split()[4:] == ['2.50', 'clips/s', 'here', '255', 'clips/s', 'on', 'a', 'V100,', 'the', 'paper']
