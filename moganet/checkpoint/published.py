"""The table of published weights: file, layout and gate of each ``moganet://NAME``."""

import difflib
from dataclasses import dataclass

OFFICIAL = 'https://github.com/Westlake-AI/MogaNet/releases/download/moganet-in1k-weights/'
DETECTION = 'https://github.com/Westlake-AI/MogaNet/releases/download/moganet-det-weights/'
POSE = 'https://github.com/Westlake-AI/MogaNet/releases/download/moganet-pose-weights/'
# Translators of SimVP, as configs and released files name them.
TRANSLATORS = (
    'incepu',
    'gsta',
    'vit',
    'swin',
    'uniformer',
    'mlpmixer',
    'convmixer',
    'poolformer',
    'convnext',
    'van',
    'hornet',
    'moganet',
)
VIDEO = 'https://github.com/chengtan9907/OpenSTL/releases/download/'
SEGMENTATION = 'https://github.com/Westlake-AI/MogaNet/releases/download/moganet-seg-weights/'
OPENMIXUP = 'https://github.com/Westlake-AI/openmixup/releases/download/moganet-in1k-weights/'


@dataclass(frozen=True)
class PublishedWeights:
    """One published file.

    Args:
        name: The name after ``moganet://``. Weights of a task have its folder in front, as in 'det/...'.
        url: Address of the file. Its last part is the file's name on disk.
        arch: Size, a key of ``moganet.arch.ARCHS``; for a video predictor, its translator.
        gate: The gate that the weights were trained with, as the tensors do not tell it. None for a video predictor,
            which has a translator in place of a backbone.
        layout: Layout of the tensor names: 'official', 'mmpretrain', 'openmmlab' or 'openstl'.
        sha256: Checksum of the file, None if it is unknown.
    """

    name: str
    url: str
    arch: str
    gate: str | None
    layout: str
    sha256: str | None = None

    @property
    def file(self) -> str:
        """The file's name on disk."""
        return self.url.rsplit('/', 1)[1]


def _official(name: str, file: str, arch: str) -> PublishedWeights:
    return PublishedWeights(name, f'{OFFICIAL}{file}.pth.tar', arch, 'single', 'official')


def _openmixup(name: str, file: str, arch: str, gate: str = 'double') -> PublishedWeights:
    return PublishedWeights(f'openmixup_{name}', f'{OPENMIXUP}{file}.pth', arch, gate, 'mmpretrain')


def _detector(config: str, file: str, arch: str) -> PublishedWeights:
    return PublishedWeights(f'det/{config}', f'{DETECTION}{file}.pth', arch, 'single', 'openmmlab')


def _segmentor(config: str, file: str, arch: str) -> PublishedWeights:
    return PublishedWeights(f'seg/{config}', f'{SEGMENTATION}{file}.pth', arch, 'single', 'openmmlab')


def _pose(config: str, file: str, arch: str) -> PublishedWeights:
    return PublishedWeights(f'pose/{config}', f'{POSE}{file}.pth', arch, 'single', 'openmmlab')


def _video(config: str, file: str, translator: str) -> PublishedWeights:
    return PublishedWeights(f'video/simvp_{translator}_{config}', f'{VIDEO}{file}.pth', translator, None, 'openstl')


# A classifier's name has its size, the data set, the input side unless it is 224, and the recipe unless it is the
# default of 300 epochs. The names of all other tasks are those of their configs.
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
    _segmentor('fpn_moganet_xt', 'fpn_moganet_xtiny_80k_ade20k', 'xtiny'),
    _segmentor('fpn_moganet_t', 'fpn_moganet_tiny_80k_ade20k', 'tiny'),
    _segmentor('fpn_moganet_s', 'fpn_moganet_small_80k_ade20k', 'small'),
    _segmentor('fpn_moganet_b', 'fpn_moganet_base_80k_ade20k', 'base'),
    _segmentor('fpn_moganet_l', 'fpn_moganet_large_80k_ade20k', 'large'),
    _segmentor('upernet_moganet_xt', 'upernet_moganet_xtiny_512x512_160k_ade20k', 'xtiny'),
    _segmentor('upernet_moganet_t', 'upernet_moganet_tiny_512x512_160k_ade20k', 'tiny'),
    _segmentor('upernet_moganet_s', 'upernet_moganet_small_512x512_160k_ade20k', 'small'),
    _segmentor('upernet_moganet_b', 'upernet_moganet_base_512x512_160k_ade20k', 'base'),
    _segmentor('upernet_moganet_l', 'upernet_moganet_large_512x512_160k_ade20k', 'large'),
    _pose('moganet_xt_256x192', 'moganet_xt_coco_256x192', 'xtiny'),
    _pose('moganet_xt_384x288', 'moganet_xt_coco_384x288', 'xtiny'),
    _pose('moganet_t_256x192', 'moganet_t_coco_256x192', 'tiny'),
    _pose('moganet_t_384x288', 'moganet_t_coco_384x288', 'tiny'),
    _pose('moganet_s_256x192', 'moganet_s_coco_256x192', 'small'),
    _pose('moganet_s_384x288', 'moganet_s_coco_384x288', 'small'),
    _pose('moganet_b_256x192', 'moganet_b_coco_256x192', 'base'),
    _pose('moganet_b_384x288', 'moganet_b_coco_384x288', 'base'),
    *(_video('mmnist', f'mmnist-weights/mmnist_simvp_s_{name}_one_ep200', name) for name in TRANSLATORS),
    *(_video('mmnist_2000e', f'mmnist-weights/mmnist_simvp_s_{name}_one_ep2000', name) for name in TRANSLATORS),
    *(_video('mfmnist', f'mfmnist-weights/fmnist_simvp_{name}_one_ep200', name) for name in TRANSLATORS),
)


def list_weights() -> tuple[PublishedWeights, ...]:
    """Return all published weights, classifiers first."""
    return WEIGHTS


def find_weights(name: str) -> PublishedWeights:
    """Return the published weights of a name, with or without ``moganet://`` in front.

    Raises:
        ValueError: the name is unknown. The message offers the nearest ones.
    """
    name = name.removeprefix('moganet://')
    for row in WEIGHTS:
        if row.name == name:
            return row
    near = difflib.get_close_matches(name, [row.name for row in WEIGHTS], n=3, cutoff=0.4)
    hint = f'did you mean {", ".join(near)}?' if near else '`moganet weights` lists the names'
    raise ValueError(f'moganet://{name}: no published weights of that name; {hint}')


def weights_of_file(file_name: str) -> PublishedWeights | None:
    """Return the published weights whose file has this name on disk, or None."""
    return next((row for row in WEIGHTS if row.file == file_name), None)
