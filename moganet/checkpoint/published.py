"""The table of published weights: what ``moganet://NAME`` means, and which gate a file of that name needs."""

import difflib
from dataclasses import dataclass

OFFICIAL = 'https://github.com/Westlake-AI/MogaNet/releases/download/moganet-in1k-weights/'
DETECTION = 'https://github.com/Westlake-AI/MogaNet/releases/download/moganet-det-weights/'
OPENMIXUP = 'https://github.com/Westlake-AI/openmixup/releases/download/moganet-in1k-weights/'


@dataclass(frozen=True)
class PublishedWeights:
    """One published file.

    Args:
        name: What stands after ``moganet://``; a task's weights have a folder in front, as in 'det/...'.
        url: Address of the file. Its last part is the file's name on disk.
        arch: Size, a key of ``moganet.backbone.ARCHS``.
        gate: The gate that the weights were trained with; the tensors themselves do not say.
        layout: How the tensors are named: 'official', 'mmpretrain' or 'openmmlab'.
        sha256: Checksum of the file, None where it is unknown.
    """

    name: str
    url: str
    arch: str
    gate: str
    layout: str
    sha256: str | None = None

    @property
    def file(self) -> str:
        return self.url.rsplit('/', 1)[1]


def _official(name: str, file: str, arch: str) -> PublishedWeights:
    return PublishedWeights(name, f'{OFFICIAL}{file}.pth.tar', arch, 'single', 'official')


def _openmixup(name: str, file: str, arch: str, gate: str = 'double') -> PublishedWeights:
    return PublishedWeights(f'openmixup_{name}', f'{OPENMIXUP}{file}.pth', arch, gate, 'mmpretrain')


def _detector(config: str, file: str, arch: str) -> PublishedWeights:
    return PublishedWeights(f'det/{config}', f'{DETECTION}{file}.pth', arch, 'single', 'openmmlab')


# Names: size, data set, input side where it is not 224, recipe where it is not the default of 300 epochs.
WEIGHTS = (
    _official('xtiny_1k', 'moganet_xtiny_sz224_8xbs128_ep300', 'xtiny'),
    _official('xtiny_1k_256', 'moganet_xtiny_sz256_8xbs128_ep300', 'xtiny'),
    _official('tiny_1k', 'moganet_tiny_sz224_8xbs128_ep300', 'tiny'),
    _official('tiny_1k_256', 'moganet_tiny_sz256_8xbs128_ep300', 'tiny'),
    _official('small_1k', 'moganet_small_sz224_8xbs128_ep300', 'small'),
    _official('base_1k', 'moganet_base_sz224_8xbs128_ep300', 'base'),
    _official('large_1k', 'moganet_large_sz224_8xbs64_ep300', 'large'),
    _official('xlarge_1k', 'moganet_xlarge_sz224_8xbs64_ep300', 'xlarge'),
    _openmixup('xtiny_1k', 'moga_xtiny_sz224_8xb128_fp16_ep300', 'xtiny'),
    _openmixup('xtiny_1k_256', 'moga_xtiny_sz256_8xb128_fp16_ep300', 'xtiny'),
    _openmixup('xtiny_1k_256_refined', 'moga_xtiny_deit3_sz256_lr2e_3_8xb128_fp16_ep300', 'xtiny'),
    _openmixup('tiny_1k', 'moga_tiny_sz224_8xb128_fp16_ep300', 'tiny'),
    _openmixup('tiny_1k_256', 'moga_tiny_sz256_8xb128_fp16_ep300', 'tiny'),
    _openmixup('tiny_1k_256_refined', 'moga_tiny_deit3_sz256_lr2e_3_8xb128_fp16_ep300', 'tiny'),
    _openmixup('small_1k', 'moga_small_ema_sz224_8xb128_ep300', 'small'),
    _openmixup('small_1k_single', 'moga_small_ema_sz224_8xb128_no_forcefp32_ep300', 'small', 'single'),
    _openmixup('base_1k', 'moga_base_ema_sz224_8xb128_ep300', 'base'),
    _openmixup('large_1k', 'moga_large_ema_sz224_8xb64_accu2_ep300', 'large'),
    _openmixup('xlarge_1k', 'moga_xlarge_ema_sz224_8xb32_accu2_ep300', 'xlarge'),
    _openmixup('xtiny_1k_rsb_a3', 'moga_xtiny_sz160_rsb_a3_8xb256_ep100', 'xtiny'),
    _openmixup('tiny_1k_rsb_a3', 'moga_tiny_sz160_rsb_a3_8xb256_ep100', 'tiny'),
    _openmixup('small_1k_rsb_a3', 'moga_small_sz160_rsb_a3_8xb256_ep100', 'small'),
    _openmixup('base_1k_rsb_a3', 'moga_base_rsb_a3_sz160_8xb128_accu2_ep100', 'base'),
    _openmixup('large_1k_rsb_a3', 'moga_large_rsb_a3_sz160_8xb128_accu2_ep100', 'large'),
    # Names of detectors are those of their configs.
    _detector('retinanet_moganet_xt', 'retinanet_moganet_xtiny_fpn_1x_coco', 'xtiny'),
    _detector('retinanet_moganet_t', 'retinanet_moganet_tiny_fpn_1x_coco', 'tiny'),
    _detector('retinanet_moganet_s', 'retinanet_moganet_small_fpn_1x_coco', 'small'),
    _detector('retinanet_moganet_b', 'retinanet_moganet_base_fpn_1x_coco', 'base'),
    _detector('retinanet_moganet_l', 'retinanet_moganet_large_fpn_1x_coco', 'large'),
    _detector('mask_rcnn_moganet_xt', 'mask_rcnn_moganet_xtiny_fpn_1x_coco', 'xtiny'),
    _detector('mask_rcnn_moganet_t', 'mask_rcnn_moganet_tiny_fpn_1x_coco', 'tiny'),
    _detector('mask_rcnn_moganet_s', 'mask_rcnn_moganet_small_fpn_1x_coco', 'small'),
    _detector('mask_rcnn_moganet_b', 'mask_rcnn_moganet_base_fpn_1x_coco', 'base'),
    _detector('mask_rcnn_moganet_l', 'mask_rcnn_moganet_large_fpn_1x_coco', 'large'),
    _detector('mask_rcnn_moganet_t_ms3x', 'mask_rcnn_moganet_t_fpn_mstrain_480-800_3x_coco', 'tiny'),
    _detector('mask_rcnn_moganet_s_ms3x', 'mask_rcnn_moganet_s_fpn_mstrain_480-800_3x_coco', 'small'),
    _detector('mask_rcnn_moganet_b_ms3x', 'mask_rcnn_moganet_b_fpn_mstrain_480-800_3x_coco', 'base'),
    _detector('mask_rcnn_moganet_l_ms3x', 'mask_rcnn_moganet_l_fpn_mstrain_480-800_3x_coco', 'large'),
    _detector('cascade_mask_rcnn_moganet_s_ms3x', 'cascade_mask_rcnn_moganet_s_fpn_ms_3x_coco', 'small'),
    _detector(
        'cascade_mask_rcnn_moganet_s_giou_ms3x', 'cascade_mask_rcnn_moganet_s_fpn_giou_4conv1f_ms_3x_coco', 'small'
    ),
    _detector(
        'cascade_mask_rcnn_moganet_b_giou_ms3x', 'cascade_mask_rcnn_moganet_b_fpn_giou_4conv1f_ms_3x_coco', 'base'
    ),
)


def list_weights() -> tuple[PublishedWeights, ...]:
    """All published weights that have a name here."""
    return WEIGHTS


def find_weights(name: str) -> PublishedWeights:
    """The row of a name, with or without ``moganet://`` in front.

    Raises:
        ValueError: no such name; the message offers the nearest ones.
    """
    name = name.removeprefix('moganet://')
    for row in WEIGHTS:
        if row.name == name:
            return row
    near = difflib.get_close_matches(name, [row.name for row in WEIGHTS], n=3, cutoff=0.4)
    hint = f'did you mean {", ".join(near)}?' if near else '`moganet weights` lists the names'
    raise ValueError(f'moganet://{name}: no published weights of that name; {hint}')


def weights_of_file(file_name: str) -> PublishedWeights | None:
    """The row of a published file by its name on disk, None for any other file."""
    return next((row for row in WEIGHTS if row.file == file_name), None)
