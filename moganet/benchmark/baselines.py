"""Networks of timm as baselines, with the top-1 accuracy that their authors published.

All accuracies are of training on ImageNet-1K alone, tested at 224x224; ResNet-50's is of recipe A2.
"""

from dataclasses import dataclass

import torch
from torch import nn

from ..paper import metafile

SIDE = 224


@dataclass(frozen=True)
class Baseline:
    """A network of timm.

    Attributes:
        name: The name in its paper.
        timm: The name in timm.
        top1: Published accuracy in percent.
        source: The publication.
    """

    name: str
    timm: str
    top1: float
    source: str


CONVNEXT, SWIN = 'arXiv:2201.03545', 'arXiv:2103.14030'
# The first one has goals, and the CPU's benchmark times the first three.
BASELINES = (
    Baseline('ConvNeXt-T', 'convnext_tiny', 82.1, CONVNEXT),
    Baseline('Swin-T', 'swin_tiny_patch4_window7_224', 81.3, SWIN),
    Baseline('ResNet-50', 'resnet50', 79.8, 'arXiv:2110.00476'),
    Baseline('ConvNeXt-S', 'convnext_small', 83.1, CONVNEXT),
    Baseline('ConvNeXt-B', 'convnext_base', 83.8, CONVNEXT),
    Baseline('Swin-S', 'swin_small_patch4_window7_224', 83.0, SWIN),
    Baseline('DeiT-S', 'deit_small_patch16_224', 79.8, 'arXiv:2012.12877'),
    Baseline('ConvFormer-S18', 'convformer_s18', 83.0, 'arXiv:2210.13452'),
    Baseline('PVTv2-B1', 'pvt_v2_b1', 78.7, 'arXiv:2106.13797'),
    Baseline('EfficientNet-B0', 'efficientnet_b0', 77.1, 'arXiv:1905.11946'),
)
# Name in figures of each size; in lower case it ends the size's name in configs/cls/metafile.yml.
OURS = {'xtiny': 'XT', 'tiny': 'T', 'small': 'S', 'base': 'B', 'large': 'L', 'xlarge': 'XL'}


def build(baseline: Baseline, side: int = SIDE) -> nn.Module:
    """Return a baseline with random weights in channels-last layout, for inference on images of ``side`` pixels."""
    import timm  # takes seconds, and only the benchmark needs it

    # Networks with position embeddings or windows are built for one image size.
    fixed_size = 'swin' in baseline.timm or 'deit' in baseline.timm
    network = timm.create_model(baseline.timm, **(dict(img_size=side) if fixed_size else {}))
    return network.to(memory_format=torch.channels_last).eval()


def published_top1(arch: str) -> float:
    """Return the paper's top-1 accuracy of a size of MogaNet at 224x224, in percent."""
    name = f'moganet_{OURS[arch].lower()}'
    return next(row.numbers['Top 1 Accuracy'].value for row in metafile.rows('cls') if row.name == name)
