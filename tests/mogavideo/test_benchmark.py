"""The benchmark compares what it says it compares. How fast things are is no test."""

import torch

from moganet.benchmark import Result
from mogavideo import benchmark, mini
from mogavideo.datasets import MovingImages


class Model(torch.nn.Module):
    """Counts the clips that it is trained on."""

    in_shape = (10, 1, 64, 64)

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))
        self.seen = []

    def forward(self, inputs, targets, mode):
        self.seen.append((mode, tuple(inputs.shape)))
        return dict(loss=(self.weight * inputs - targets).square().mean())


def test_loader_is_compared_clip_by_clip(mini_video, monkeypatch):
    monkeypatch.setattr(mini, 'ROOT', str(mini_video))
    monkeypatch.setattr(mini, 'make', lambda: None)

    def one_turn(calls, rounds):
        for call in calls.values():
            call()
        return {name: [64.0] * rounds for name in calls}

    # A round of loading takes as long as a round of training, and has 32 times the clips.
    monkeypatch.setattr(benchmark, 'take_turns', one_turn)
    model = Model()
    result = benchmark.loader(model, rounds=3)
    assert model.seen == [('loss', (2, 10, 1, 64, 64))] and model.weight.grad is None
    assert result == Result('a clip made on the fly, one process', 'training step, per clip', 1.0, 32.0, 1 / 32, 0.25)


def test_each_call_loads_other_clips(mini_video):
    load = benchmark.loading(MovingImages(str(mini_video)), clips=3)
    first, second = load(), load()
    assert first['inputs'].shape == (3, 10, 1, 64, 64)
    clips = torch.cat([first['inputs'], second['inputs']])
    assert not any(torch.equal(clips[i], clips[j]) for i in range(6) for j in range(i))
