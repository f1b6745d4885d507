"""Networks of timm that stand beside ours, with the top-1 accuracy that their authors published.

Accuracies are of training on ImageNet-1K alone, tested at 224x224; ResNet-50's is that of recipe A2.
"""

from dataclasses import dataclass

from torch import nn

from ..paper import metafile

SIDE = 224


@dataclass(frozen=True)
class Rival:
    """``name`` in the words of its paper, ``timm`` in timm's; ``top1`` in percent."""

    name: str
    timm: str
    top1: float
    source: str


CONVNEXT, SWIN = 'arXiv:2201.03545', 'arXiv:2103.14030'
# The first three also stand beside ours where goals are.
RIVALS = (
    Rival('ConvNeXt-T', 'convnext_tiny', 82.1, CONVNEXT),
    Rival('Swin-T', 'swin_tiny_patch4_window7_224', 81.3, SWIN),
    Rival('ResNet-50', 'resnet50', 79.8, 'arXiv:2110.00476'),
    Rival('ConvNeXt-S', 'convnext_small', 83.1, CONVNEXT),
    Rival('ConvNeXt-B', 'convnext_base', 83.8, CONVNEXT),
    Rival('Swin-S', 'swin_small_patch4_window7_224', 83.0, SWIN),
    Rival('DeiT-S', 'deit_small_patch16_224', 79.8, 'arXiv:2012.12877'),
    Rival('ConvFormer-S18', 'convformer_s18', 83.0, 'arXiv:2210.13452'),
    Rival('PVTv2-B1', 'pvt_v2_b1', 78.7, 'arXiv:2106.13797'),
    Rival('EfficientNet-B0', 'efficientnet_b0', 77.1, 'arXiv:1905.11946'),
)
# The row of configs/cls/metafile.yml and the name in pictures.
OURS = {'xtiny': 'XT', 'tiny': 'T', 'small': 'S', 'base': 'B', 'large': 'L', 'xlarge': 'XL'}


def build(rival: Rival, side: int = SIDE) -> nn.Module:
    """The network with random weights, for inference on square images of ``side`` pixels."""
    import timm  # takes seconds, and only the benchmark needs it

    # Those that attend to positions are built for one size.
    fixed = 'swin' in rival.timm or 'deit' in rival.timm
    return timm.create_model(rival.timm, **(dict(img_size=side) if fixed else {})).eval()


def published_top1(arch: str) -> float:
    """The paper's top-1 accuracy of a size of MogaNet at 224x224, in percent."""
    name = f'moganet_{OURS[arch].lower()}'
    return next(row.numbers['Top 1 Accuracy'].value for row in metafile.rows('cls') if row.name == name)
