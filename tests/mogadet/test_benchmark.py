"""Benchmark of detectors: whole steps at the same input, and each backbone against its own detector."""

import torch
from mmdet.testing import demo_mm_inputs
from torch import nn

from mogadet import benchmark


class Detector(nn.Module):
    """Counts its calls."""

    def __init__(self, name):
        super().__init__()
        self.backbone = nn.Conv2d(3, 4, 1)
        self.backbone.forward = lambda x: (self.backbone._conv_forward(x, self.backbone.weight, self.backbone.bias),)
        self.calls = []

    def data_preprocessor(self, batch, training):
        return batch

    def forward(self, inputs, data_samples, mode):
        image = inputs[0].float()
        self.calls.append((mode, tuple(image.shape), len(data_samples[0].gt_instances), self.training))
        return dict(loss=self.backbone(image[None])[0].mean())

    def parse_losses(self, losses):
        return losses['loss'], losses

    def test_step(self, batch):
        self.calls.append(('predict', tuple(batch['inputs'][0].shape), None, self.training))


def test_each_detector_does_the_same_work_in_every_round(monkeypatch):
    models = {}
    monkeypatch.setattr(benchmark, 'build', lambda config: models.setdefault(config, Detector(config)))
    results = benchmark.measure(rounds=3)
    shape = (3, benchmark.HEIGHT, benchmark.WIDTH)
    assert list(models) == list(benchmark.CONFIGS.values())
    for model in models.values():  # one call warms up
        assert model.calls == [('loss', shape, benchmark.OBJECTS, True)] * 4 + [('predict', shape, None, False)] * 4
    assert [result.baseline for result in results] == ['R-50', 'Swin-T', *['the whole detector'] * 3] * 2
    assert all(result.goal is None and result.ratio > 0 for result in results)


def test_the_baselines_are_mmdets_own_with_random_weights():
    model = benchmark.build(benchmark.CONFIGS['R-50'])
    assert type(model).__name__ == 'MaskRCNN'
    assert model.backbone.depth == 50
    assert model.backbone.init_cfg is None or 'Pretrained' not in str(model.backbone.init_cfg)


def test_the_input_has_objects_with_masks():
    torch.manual_seed(0)
    batch = demo_mm_inputs(1, [[3, 64, 64]], num_items=[2], num_classes=80, with_mask=True)
    assert len(batch['data_samples'][0].gt_instances.masks) == 2
