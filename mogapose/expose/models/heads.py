"""ExPose's heads: from the backbone's last map to rotations, shape, expression and camera, in three steps.

f: pooled feature (B, C); p: parameter vector (B, P), with its parts in the order of ``Layout``.

    p_0 = mean;  p_{t+1} = p_t + MLP([f, p_t])  for t = 0, 1, 2, with one MLP for all three steps

After Choutas et al., Monocular Expressive Body Regression through Body-Driven Attention, ECCV 2020. Names of parameters
are those of MMHuman3D.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..registry import MODELS
from .mean_parameters import read_mean_poses, read_mean_shape
from .rotation import rot6d_to_matrix

NUM_STAGES = 3
ROT6D = 6
# 6D of no turn, and of half a turn about x: models of faces and bodies have y up, images have it down.
UPRIGHT = (1.0, 0.0, 0.0, 1.0, 0.0, 0.0)
TURNED = (1.0, 0.0, 0.0, -1.0, 0.0, 0.0)
# From the raw number to the camera's scale, and from the mean scale to the raw one.
SCALES = {
    'softplus': (F.softplus, lambda scale: math.log(math.expm1(scale))),
    'exp': (torch.exp, math.log),
    'none': (lambda raw: raw, lambda scale: scale),
}
INITS = ('default', 'xavier')


@dataclass(frozen=True)
class Layout:
    """What a parameter vector holds, in this order: poses, betas, expression, camera (scale and translation in x, y).

    Attributes:
        poses: Numbers of joints; each has six numbers.
        turned: Poses whose mean is half a turn about x.
        with_mean: Poses that start from a mean pose, where one is known.
    """

    poses: dict[str, int]
    betas: int
    expression: int = 0
    turned: tuple[str, ...] = ()
    with_mean: tuple[str, ...] = ()

    def slices(self) -> dict[str, slice]:
        """Where each part lies."""
        sizes = {name: count * ROT6D for name, count in self.poses.items()} | dict(betas=self.betas)
        sizes |= dict(expression=self.expression) if self.expression else {}
        found, start = {}, 0
        for name, size in (sizes | dict(camera=3)).items():
            found[name] = slice(start, start + size)
            start += size
        return found


HAND = Layout(dict(global_orient=1, right_hand_pose=15), betas=10, with_mean=('right_hand_pose',))
FACE = Layout(dict(global_orient=1, jaw_pose=1), betas=100, expression=50, turned=('global_orient',))
BODY = Layout(
    dict(global_orient=1, body_pose=21, left_hand_pose=15, right_hand_pose=15, jaw_pose=1),
    betas=10,
    expression=10,
    turned=('global_orient',),
    with_mean=('body_pose', 'left_hand_pose', 'right_hand_pose'),
)


class MLP(nn.Module):
    """Blocks of a linear layer, an activation and dropout; then a linear layer.

    Args:
        activ_type: 'ReLU', or 'none': the blocks are linear then.
        init: Of the last layer. 'default' is PyTorch's, weights up to 1 / sqrt(inputs). 'xavier' is uniform with
            ``gain``, zero bias: the first guess is then the mean.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        layers: Sequence[int] = (1024, 1024),
        activ_type: str = 'ReLU',
        dropout: float = 0.5,
        init: str = 'default',
        gain: float = 0.01,
    ):
        super().__init__()
        if activ_type not in ('ReLU', 'none'):
            raise ValueError(f"activ_type={activ_type!r}: expected 'ReLU' or 'none'")
        if init not in INITS:
            raise ValueError(f'init={init!r}: expected one of {", ".join(INITS)}')
        widths = (in_channels, *layers)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(before, after), *([nn.ReLU()] if activ_type == 'ReLU' else []), nn.Dropout(dropout))
            for before, after in zip(widths, widths[1:], strict=False)
        )
        self.output_layer = nn.Linear(widths[-1], out_channels)
        if init == 'xavier':
            nn.init.xavier_uniform_(self.output_layer.weight, gain)
            nn.init.zeros_(self.output_layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return self.output_layer(x)


class IterativeRegressor(nn.Module):
    """Improves a parameter vector in three steps. ``mean_param`` (1, P) is part of the state, as in MMHuman3D."""

    def __init__(self, in_channels: int, mean: Tensor, **mlp: object):
        super().__init__()
        self.register_buffer('mean_param', mean[None].clone())
        self.module = MLP(in_channels + len(mean), len(mean), **mlp)

    def forward(self, features: Tensor, cond: Tensor | None = None) -> Tensor:
        """The parameters (B, P) of ``features`` (B, C), starting from ``cond`` (B, P), or the mean."""
        parameters = self.mean_param.expand(len(features), -1) if cond is None else cond
        for _ in range(NUM_STAGES):
            parameters = parameters + self.module(torch.cat((features, parameters), 1))
        return parameters


class ExPoseHead(nn.Module):
    """One head for every part of the body: ``LAYOUT`` says what its vector holds.

    Args:
        in_channels: C of the last map.
        num_betas, num_expression_coeffs: Shape and expression, as many as the layout says by default.
        regressor_cfg: Changes of ``MLP``: ``layers``, ``activ_type``, ``dropout``, ``init``, ``gain``. MMHuman3D's
            configs ask for a gain of 0.01 of the last layer, but what then runs, and ran for the published numbers,
            leaves that layer as PyTorch makes it: ``init='default'``. ``init='xavier'`` is what was meant.
        camera_cfg: ``pos_func``, how the scale is made positive ('softplus', 'exp', or 'none' for not at all), and
            ``mean_scale``.
        mean_pose_path: ``all_means.pkl`` of ExPose. Without it hands start from the mean of their body model once the
            estimator's weights are initialised, other poses from the identity.
        shape_mean_path: ``.npy`` of mean betas, zero without.

    Raises:
        ValueError: an option outside its range.
        FileNotFoundError: a path is given, and no file there.
    """

    LAYOUT: Layout
    MEAN_SCALE = 0.9
    ACTIVATION = 'ReLU'

    def __init__(
        self,
        in_channels: int,
        num_betas: int | None = None,
        num_expression_coeffs: int | None = None,
        regressor_cfg: dict | None = None,
        camera_cfg: dict | None = None,
        mean_pose_path: str | None = None,
        shape_mean_path: str | None = None,
    ):
        super().__init__()
        self.layout = self._sized(num_betas, num_expression_coeffs)
        self.slices = self.layout.slices()
        self.pos_func, mean_scale = self._camera(**(camera_cfg or {}))
        mean = torch.zeros(self.slices['camera'].stop)
        for name, count in self.layout.poses.items():
            mean[self.slices[name]] = torch.tensor(TURNED if name in self.layout.turned else UPRIGHT).repeat(count)
        mean[self.slices['camera'].start] = SCALES[self.pos_func][1](mean_scale)
        if shape_mean_path is not None:
            mean[self.slices['betas']] = read_mean_shape(shape_mean_path, self.layout.betas)
        self.regressor = IterativeRegressor(
            in_channels, mean, **dict(activ_type=self.ACTIVATION) | (regressor_cfg or {})
        )
        self.mean_pose_path = mean_pose_path
        if mean_pose_path is not None:
            joints = {name: self.layout.poses[name] for name in self.layout.with_mean}
            self.set_mean_poses(read_mean_poses(mean_pose_path, joints))

    def _sized(self, num_betas: int | None, num_expression: int | None) -> Layout:
        if num_expression is not None and not self.LAYOUT.expression:
            raise ValueError(f'num_expression_coeffs={num_expression}: {type(self).__name__} has no expression')
        wanted = dict(betas=num_betas, expression=num_expression)
        wanted = {name: count for name, count in wanted.items() if count is not None}
        if any(count < 1 for count in wanted.values()):
            raise ValueError(f'num_betas={num_betas}, num_expression_coeffs={num_expression}: expected 1 or more')
        return replace(self.LAYOUT, **wanted)

    def _camera(self, pos_func: str = 'softplus', mean_scale: float | None = None) -> tuple[str, float]:
        if pos_func not in SCALES:
            raise ValueError(f'camera_cfg: pos_func={pos_func!r}: expected one of {", ".join(SCALES)}')
        mean_scale = self.MEAN_SCALE if mean_scale is None else mean_scale
        if mean_scale <= 0:
            raise ValueError(f'camera_cfg: mean_scale={mean_scale}: expected a number above zero')
        return pos_func, mean_scale

    def set_mean_poses(self, means: Mapping[str, Tensor]) -> None:
        """Start from these poses, (N, 6) each, where the layout says that a pose starts from a mean."""
        for name in self.layout.with_mean:
            if name in means:
                self.regressor.mean_param[0, self.slices[name]] = means[name].flatten().to(self.regressor.mean_param)

    def regress(self, features: Tensor | Sequence[Tensor], cond: Tensor | None = None) -> Tensor:
        """The parameter vector (B, P) of maps, of which the last (B, C, H, W) is read, or of pooled features (B, C).

        Raises:
            ValueError: a single map in the place of a sequence of maps.
        """
        if isinstance(features, Tensor):
            if features.dim() != 2:
                raise ValueError(f'features of shape {tuple(features.shape)}: expected a sequence of maps, or (B, C)')
        else:
            features = F.adaptive_avg_pool2d(features[-1], 1).flatten(1)
        return self.regressor(features, cond)

    def forward(self, features: Tensor | Sequence[Tensor], cond: Tensor | None = None) -> dict:
        """Regress and decode, in float32 under autocast.

        Args:
            features: As for ``regress``.
            cond: A parameter vector (B, P) to start from, in the place of the mean.

        Returns:
            ``pred_param``: rotation matrices (B, N, 3, 3) of each pose, ``betas``, ``expression``; ``pred_cam``
            (B, 3): scale and the translation added before scaling; ``pred_raw``: ``raw_<pose>``, 6D (B, 6 N).
        """
        raw = self.regress(features, cond)
        with torch.autocast(raw.device.type, enabled=False):
            return self.decode(raw if raw.dtype == torch.float64 else raw.float())

    def decode(self, raw: Tensor) -> dict:
        """What ``forward`` returns, of a parameter vector (B, P)."""
        parts = {name: raw[:, where] for name, where in self.slices.items()}
        poses = {name: rot6d_to_matrix(parts[name].unflatten(1, (-1, ROT6D))) for name in self.layout.poses}
        rest = {name: parts[name] for name in ('betas', 'expression') if name in parts}
        camera = parts['camera']
        return dict(
            pred_param=poses | rest,
            pred_cam=torch.cat((SCALES[self.pos_func][0](camera[:, :1]), camera[:, 1:]), 1),
            pred_raw={f'raw_{name}': parts[name] for name in poses},
        )


@MODELS.register_module()
class ExPoseHandHead(ExPoseHead):
    """The right hand, 109 parameters: orientation, 15 joints, 10 betas, camera."""

    LAYOUT = HAND


@MODELS.register_module()
class ExPoseFaceHead(ExPoseHead):
    """The face, 165 parameters: orientation, jaw, 100 betas, 50 of the expression, camera."""

    LAYOUT = FACE
    MEAN_SCALE = 8.0


@MODELS.register_module()
class ExPoseBodyHead(ExPoseHead):
    """The body, 341 parameters: orientation, 21 joints, both hands, jaw, 10 betas, 10 of the expression, camera.

    Its blocks have no activation.
    """

    LAYOUT = BODY
    ACTIVATION = 'none'
