"""ExPose's heads, which regress rotations, shape, expression and camera from the backbone's last map.

With f the pooled feature (B, C) and p the parameter vector (B, P), whose parts have the order of ``Layout``:

    p_0 = mean;  p_{t+1} = p_t + MLP([f, p_t])  for t = 0, 1, 2, with one MLP for all three steps

After Choutas et al., Monocular Expressive Body Regression through Body-Driven Attention, ECCV 2020. The parameters have
the names of MMHuman3D.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..registry import MODELS
from .mean_parameters import read_mean_poses, read_mean_shape
from .rotation import rot6d_to_matrix

NUM_STAGES = 3
ROT6D = 6
# 6D representations of the identity and of half a turn about x. Models of faces and bodies have y up, images have y
# down.
UPRIGHT = (1.0, 0.0, 0.0, 1.0, 0.0, 0.0)
TURNED = (1.0, 0.0, 0.0, -1.0, 0.0, 0.0)
# For each pos_func the map from the raw number to the camera's scale, and its inverse for the mean scale.
SCALES: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[float], float]]] = {
    'softplus': (F.softplus, lambda scale: math.log(math.expm1(scale))),
    'exp': (torch.exp, math.log),
    'none': (lambda raw: raw, lambda scale: scale),
}
INITS = ('default', 'xavier')


@dataclass(frozen=True)
class Layout:
    """The parts of a parameter vector: poses, betas, expression and camera (scale and translation in x and y).

    Attributes:
        poses: For each pose its number of joints; a joint has six numbers.
        betas: Number of shape coefficients.
        expression: Number of expression coefficients.
        turned: Poses whose mean is half a turn about x.
        with_mean: Poses that start from a mean pose, if one is known.
    """

    poses: dict[str, int]
    betas: int
    expression: int = 0
    turned: tuple[str, ...] = ()
    with_mean: tuple[str, ...] = ()

    def slices(self) -> dict[str, slice]:
        """Return the range of each part in the parameter vector."""
        sizes = {name: count * ROT6D for name, count in self.poses.items()} | dict(betas=self.betas)
        sizes |= dict(expression=self.expression) if self.expression else {}
        slices, start = {}, 0
        for name, size in (sizes | dict(camera=3)).items():
            slices[name] = slice(start, start + size)
            start += size
        return slices


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
    """Blocks of a linear layer, an activation and dropout, followed by a linear layer.

    Args:
        in_channels: Width of the input.
        out_channels: Width of the output.
        layers: Widths of the blocks.
        activ_type: 'ReLU', or 'none' for blocks without activation.
        dropout: Probability of dropout in the blocks.
        init: Initialisation of the last layer. 'default' is PyTorch's, with weights up to 1 / sqrt(inputs). 'xavier' is
            uniform with ``gain`` and zero bias, so that the first estimate is close to the mean.
        gain: Gain of 'xavier'.

    Raises:
        ValueError: ``activ_type`` or ``init`` is unknown.
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
    ) -> None:
        super().__init__()
        if activ_type not in ('ReLU', 'none'):
            raise ValueError(f"activ_type={activ_type!r}: expected 'ReLU' or 'none'")
        if init not in INITS:
            raise ValueError(f'init={init!r}: expected one of {", ".join(INITS)}')
        widths = (in_channels, *layers)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(before, after), *([nn.ReLU()] if activ_type == 'ReLU' else []), nn.Dropout(dropout))
            for before, after in pairwise(widths)
        )
        self.output_layer = nn.Linear(widths[-1], out_channels)
        if init == 'xavier':
            nn.init.xavier_uniform_(self.output_layer.weight, gain)
            nn.init.zeros_(self.output_layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels) to (B, out_channels)."""
        for block in self.blocks:
            x = block(x)
        return self.output_layer(x)


class IterativeRegressor(nn.Module):
    """Improves a parameter vector in three steps. ``mean_param`` (1, P) is part of the state, as in MMHuman3D.

    Args:
        in_channels: C, the width of the features.
        mean: (P,), the vector to start from.
        mlp: Further arguments of ``MLP``.
    """

    mean_param: Tensor

    def __init__(self, in_channels: int, mean: Tensor, **mlp: Any) -> None:
        super().__init__()
        self.register_buffer('mean_param', mean[None].clone())
        self.module = MLP(in_channels + len(mean), len(mean), **mlp)

    def forward(self, features: Tensor, cond: Tensor | None = None) -> Tensor:
        """Return the parameters (B, P) of ``features`` (B, C), starting from ``cond`` (B, P) or else the mean."""
        parameters = self.mean_param.expand(len(features), -1) if cond is None else cond
        for _ in range(NUM_STAGES):
            parameters = parameters + self.module(torch.cat((features, parameters), 1))
        return parameters


class ExPoseHead(nn.Module):
    """Base of the heads of hand, face and body, whose ``LAYOUT`` lists the parts of the parameter vector.

    Args:
        in_channels: C, the number of channels of the last map.
        num_betas: Number of shape coefficients, that of the layout by default.
        num_expression_coeffs: Number of expression coefficients, that of the layout by default.
        regressor_cfg: Arguments of ``MLP`` to change: ``layers``, ``activ_type``, ``dropout``, ``init``, ``gain``.
            MMHuman3D's configs ask for a gain of 0.01 in the last layer. The code that produced the published numbers
            ignores it and keeps PyTorch's initialisation, here ``init='default'``. The configs' intention is
            ``init='xavier'``.
        camera_cfg: ``pos_func``, the function that makes the scale positive ('softplus', 'exp', or 'none' for no
            function), and ``mean_scale``.
        mean_pose_path: ExPose's ``all_means.pkl``. Without it, hands start from the mean of their body model once the
            estimator's weights are initialised, and other poses start from the identity.
        shape_mean_path: A ``.npy`` of mean betas. Without it the mean is zero.

    Raises:
        ValueError: An option is outside its range.
        FileNotFoundError: The file of a given path does not exist.
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
    ) -> None:
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
        betas = self.LAYOUT.betas if num_betas is None else num_betas
        expression = self.LAYOUT.expression if num_expression is None else num_expression
        if betas < 1 or (num_expression is not None and expression < 1):
            raise ValueError(f'num_betas={num_betas}, num_expression_coeffs={num_expression}: expected 1 or more')
        return replace(self.LAYOUT, betas=betas, expression=expression)

    def _camera(self, pos_func: str = 'softplus', mean_scale: float | None = None) -> tuple[str, float]:
        if pos_func not in SCALES:
            raise ValueError(f'camera_cfg: pos_func={pos_func!r}: expected one of {", ".join(SCALES)}')
        mean_scale = self.MEAN_SCALE if mean_scale is None else mean_scale
        if mean_scale <= 0:
            raise ValueError(f'camera_cfg: mean_scale={mean_scale}: expected a number above zero')
        return pos_func, mean_scale

    def set_mean_poses(self, means: Mapping[str, Tensor]) -> None:
        """Set the mean of the poses that the layout lists in ``with_mean``.

        Args:
            means: For each pose a tensor (N, 6) in the 6D representation. Other poses are ignored.
        """
        for name in self.layout.with_mean:
            if name in means:
                self.regressor.mean_param[0, self.slices[name]] = means[name].flatten().to(self.regressor.mean_param)

    def regress(self, features: Tensor | Sequence[Tensor], cond: Tensor | None = None) -> Tensor:
        """Compute the parameter vector.

        Args:
            features: A sequence of maps, of which the last one (B, C, H, W) is pooled, or pooled features (B, C).
            cond: A parameter vector (B, P) to start from, instead of the mean.

        Returns:
            The parameter vector (B, P).

        Raises:
            ValueError: ``features`` is a single map instead of a sequence of maps.
        """
        if isinstance(features, Tensor):
            if features.dim() != 2:
                raise ValueError(f'features of shape {tuple(features.shape)}: expected a sequence of maps, or (B, C)')
        else:
            features = F.adaptive_avg_pool2d(features[-1], 1).flatten(1)
        return self.regressor(features, cond)

    def forward(self, features: Tensor | Sequence[Tensor], cond: Tensor | None = None) -> dict:
        """Compute the parameter vector and decode it; decoding is in float32 under autocast.

        Args:
            features: As for ``regress``.
            cond: A parameter vector (B, P) to start from, instead of the mean.

        Returns:
            A dict of ``pred_param``: rotation matrices (B, N, 3, 3) of each pose, ``betas`` and ``expression``;
            ``pred_cam`` (B, 3): the scale and the translation that is added before scaling; ``pred_raw``:
            ``raw_<pose>``, the 6D representations (B, 6 N).

        Raises:
            ValueError: As for ``regress``.
        """
        raw = self.regress(features, cond)
        with torch.autocast(raw.device.type, enabled=False):
            return self.decode(raw if raw.dtype == torch.float64 else raw.float())

    def decode(self, raw: Tensor) -> dict:
        """Split a parameter vector (B, P) into the dict that ``forward`` returns."""
        parts = {name: raw[:, columns] for name, columns in self.slices.items()}
        poses = {name: rot6d_to_matrix(parts[name].unflatten(1, (-1, ROT6D))) for name in self.layout.poses}
        coefficients = {name: parts[name] for name in ('betas', 'expression') if name in parts}
        camera = parts['camera']
        return dict(
            pred_param=poses | coefficients,
            pred_cam=torch.cat((SCALES[self.pos_func][0](camera[:, :1]), camera[:, 1:]), 1),
            pred_raw={f'raw_{name}': parts[name] for name in poses},
        )


@MODELS.register_module()
class ExPoseHandHead(ExPoseHead):
    """Head of the right hand with 109 parameters: orientation, 15 joints, 10 betas, camera."""

    LAYOUT = HAND


@MODELS.register_module()
class ExPoseFaceHead(ExPoseHead):
    """Head of the face with 165 parameters: orientation, jaw, 100 betas, 50 expression coefficients, camera."""

    LAYOUT = FACE
    MEAN_SCALE = 8.0


@MODELS.register_module()
class ExPoseBodyHead(ExPoseHead):
    """Head of the body with 341 parameters.

    They are the orientation, 21 joints, both hands, the jaw, 10 betas, 10 expression coefficients and the camera. The
    blocks of its ``MLP`` have no activation.
    """

    LAYOUT = BODY
    ACTIVATION = 'none'
