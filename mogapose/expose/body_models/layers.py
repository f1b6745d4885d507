"""MANO, FLAME and SMPL-X as layers with linear blend skinning, after Loper et al., SMPL, SIGGRAPH Asia 2015."""

from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from ..models import conventions
from ..registry import MODELS
from .files import BODY_MODELS, read_body_model
from .landmarks import contour_row, surface_points


class BodyModel(nn.Module):
    """Base of the body models, which compute vertices and joints from rotations and shape coefficients.

    A body model has no parameters, and its arrays are not in the state dict. It computes in float32 under autocast, and
    in float64 after ``double()``.

    Args:
        path: The licensed file, or the ``.npz`` that ``tools/convert_body_model.py`` wrote from it.
        num_betas: Number of the file's shape coefficients to use.
        num_expression: Number of the file's expression coefficients to use.

    Attributes:
        CONVENTION: 'mano', 'flame' or 'smplx'.
        POSES: Names of the pose arguments with their numbers of joints, in the order of the model's joints.
        faces: (F, 3) vertex numbers, counter-clockwise seen from outside.

    Raises:
        FileNotFoundError: The file does not exist; the message says where to get it.
        ValueError: The file does not fit the model, or has fewer coefficients.
    """

    CONVENTION: ClassVar[str]
    POSES: ClassVar[dict[str, int]]
    v_template: Tensor
    shapedirs: Tensor
    posedirs: Tensor
    weights: Tensor
    j_template: Tensor
    j_shapedirs: Tensor
    faces: Tensor

    def __init__(self, path: str | Path, num_betas: int, num_expression: int = 0) -> None:
        super().__init__()
        arrays = read_body_model(path, self.CONVENTION)
        spec = BODY_MODELS[self.CONVENTION]
        shape_columns, expression_columns = next(c for c in spec.columns if sum(c) == arrays['shapedirs'].shape[-1])
        for name, wanted, available in (
            ('num_betas', num_betas, shape_columns),
            ('num_expression', num_expression, expression_columns),
        ):
            if not 0 <= wanted <= available:
                raise ValueError(f'{name}={wanted}, but {path} has {available}')
        self.num_betas, self.num_expression = num_betas, num_expression
        shapedirs = torch.from_numpy(arrays['shapedirs'])
        shapedirs = torch.cat(
            (shapedirs[..., :num_betas], shapedirs[..., shape_columns : shape_columns + num_expression]), -1
        )
        template, regressor = torch.from_numpy(arrays['v_template']), torch.from_numpy(arrays['J_regressor'])
        self._buffer('v_template', template)
        self._buffer('shapedirs', shapedirs)
        self._buffer('posedirs', torch.from_numpy(arrays['posedirs']))
        self._buffer('weights', torch.from_numpy(arrays['weights']))
        # Joints are linear in the shape: the regressor, thousands of columns wide, is applied once, here.
        self._buffer('j_template', regressor @ template)
        self._buffer('j_shapedirs', torch.einsum('jv,vcn->jcn', regressor, shapedirs))
        self._buffer('faces', torch.from_numpy(arrays['f']))
        self.parents = spec.parents
        self._register_more(arrays)

    def _buffer(self, name: str, value: Tensor) -> None:
        self.register_buffer(name, value.contiguous(), persistent=False)

    def _register_more(self, arrays: dict[str, np.ndarray]) -> None:
        """Register the buffers that only this model has."""

    def forward(
        self, global_orient: Tensor, betas: Tensor | None = None, expression: Tensor | None = None, **poses: Tensor
    ) -> dict[str, Tensor]:
        """Pose the model.

        Args:
            global_orient: (B, 1, 3, 3), the rotation matrix of the root.
            betas: (B, num_betas), shape coefficients; zeros by default.
            expression: (B, num_expression), expression coefficients; zeros by default.
            poses: (B, N, 3, 3), rotation matrices by the names of ``POSES``; the identity by default.

        Returns:
            A dict of ``vertices`` (B, V, 3) and ``joints`` (B, K, 3) in metres, without translation.

        Raises:
            TypeError: A pose is unknown.
            ValueError: An argument has another shape.
        """
        with torch.autocast(self.v_template.device.type, enabled=False):
            rotations = self._rotations(dict(global_orient=global_orient, **poses))
            shape = self._coefficients(len(rotations), betas=betas, expression=expression)
            joints = self.j_template + torch.einsum('jcn,bn->bjc', self.j_shapedirs, shape)
            vertices = self.v_template + torch.einsum('vcn,bn->bvc', self.shapedirs, shape)
            identity = torch.eye(3, dtype=rotations.dtype, device=rotations.device)
            bends = (rotations[:, 1:] - identity).flatten(1)
            vertices = vertices + torch.einsum('vcn,bn->bvc', self.posedirs, bends)
            world, posed_joints = self._chain(rotations, joints)
            vertices = self._skin(vertices, world, posed_joints - (world @ joints[..., None]).squeeze(-1))
            return dict(vertices=vertices, joints=self._output_joints(vertices, posed_joints, world))

    def _rotations(self, poses: dict[str, Tensor]) -> Tensor:
        """Return the rotations (B, J, 3, 3) of all joints in their order."""
        unknown = sorted(set(poses) - set(self.POSES))
        if unknown:
            raise TypeError(f'{type(self).__name__} has no pose {unknown[0]!r}; it has {", ".join(self.POSES)}')
        batch = len(poses['global_orient'])
        parts = []
        for name, count in self.POSES.items():
            pose = poses.get(name)
            if pose is None:
                pose = torch.eye(3, device=self.v_template.device).expand(batch, count, 3, 3)
            elif pose.shape != (batch, count, 3, 3):
                raise ValueError(f'{name} has shape {tuple(pose.shape)}, expected {(batch, count, 3, 3)}')
            parts.append(pose.to(self.v_template))
        return torch.cat(parts, 1)

    def _coefficients(self, batch: int, betas: Tensor | None, expression: Tensor | None) -> Tensor:
        """Return shape and expression as one tensor (B, num_betas + num_expression)."""
        parts = []
        for name, values, count in (
            ('betas', betas, self.num_betas),
            ('expression', expression, self.num_expression),
        ):
            if values is None:
                values = self.v_template.new_zeros(batch, count)
            elif values.shape != (batch, count):
                raise ValueError(f'{name} has shape {tuple(values.shape)}, expected {(batch, count)}')
            parts.append(values.to(self.v_template))
        return torch.cat(parts, 1)

    def _chain(self, rotations: Tensor, joints: Tensor) -> tuple[Tensor, Tensor]:
        """Return the world rotations (B, J, 3, 3) and positions (B, J, 3) of the joints."""
        world, position = [rotations[:, 0]], [joints[:, 0]]
        for joint, parent in enumerate(self.parents[1:], start=1):
            offset = (joints[:, joint] - joints[:, parent])[..., None]
            position.append(position[parent] + (world[parent] @ offset).squeeze(-1))
            world.append(world[parent] @ rotations[:, joint])
        return torch.stack(world, 1), torch.stack(position, 1)

    def _skin(self, vertices: Tensor, rotation: Tensor, translation: Tensor) -> Tensor:
        """Move vertices (B, V, 3) by the weighted mean of the joints' rotations and translations."""
        motions = torch.cat((rotation, translation[..., None]), -1).flatten(2)
        motions = (self.weights @ motions).unflatten(-1, (3, 4))
        return (motions[..., :3] @ vertices[..., None]).squeeze(-1) + motions[..., 3]

    def _output_joints(self, vertices: Tensor, joints: Tensor, world: Tensor) -> Tensor:
        """Return the joints (B, K, 3) of the model's convention from its own J joints and world rotations."""
        raise NotImplementedError


@MODELS.register_module()
class MANO(BodyModel):
    """The right hand, with 21 joints in FreiHAND's order, finger tips included.

    MANO's own pose parameters are relative to a mean pose, here the buffer ``hands_mean`` (15, 3) in axis-angle. The
    poses that ``forward`` accepts are absolute.

    Args:
        path: See ``BodyModel``.
        num_betas: Number of shape coefficients.
    """

    CONVENTION = 'mano'
    POSES: ClassVar = dict(global_orient=1, right_hand_pose=15)
    hands_mean: Tensor

    def __init__(self, path: str | Path, num_betas: int = 10) -> None:
        super().__init__(path, num_betas)

    def _register_more(self, arrays: dict[str, np.ndarray]) -> None:
        self._buffer('hands_mean', torch.from_numpy(arrays['hands_mean']).reshape(15, 3))

    def _output_joints(self, vertices: Tensor, joints: Tensor, world: Tensor) -> Tensor:
        tips = vertices[:, list(conventions.MANO_TIP_VERTICES)]
        return torch.cat((joints, tips), 1)[:, list(conventions.MANO_TO_FREIHAND)]


class FaceModel(BodyModel):
    """Base of models with a face, whose joints are followed by 51 landmarks and 17 points of the contour."""

    # The joint whose world rotation selects the contour. FLAME's neck has no influence, as in smplx 0.1.28.
    HEAD_JOINT: ClassVar[int]
    lmk_triangles: Tensor
    lmk_bary_coords: Tensor
    dynamic_lmk_triangles: Tensor
    dynamic_lmk_bary_coords: Tensor

    def _register_more(self, arrays: dict[str, np.ndarray]) -> None:
        for name in ('lmk', 'dynamic_lmk'):
            self._buffer(f'{name}_triangles', self.faces[torch.from_numpy(arrays[f'{name}_faces_idx'])])
            self._buffer(f'{name}_bary_coords', torch.from_numpy(arrays[f'{name}_bary_coords']))

    def _face_points(self, vertices: Tensor, world: Tensor) -> Tensor:
        """Return landmarks and contour (B, 68, 3)."""
        row = contour_row(world[:, self.HEAD_JOINT])
        fixed = surface_points(vertices, self.lmk_triangles, self.lmk_bary_coords)
        contour = surface_points(vertices, self.dynamic_lmk_triangles[row], self.dynamic_lmk_bary_coords[row])
        return torch.cat((fixed, contour), 1)


@MODELS.register_module()
class FLAME(FaceModel):
    """The head, with 5 joints and the 68 points of the face.

    Args:
        path: See ``BodyModel``.
        num_betas: Number of shape coefficients.
        num_expression: Number of expression coefficients.
    """

    CONVENTION = 'flame'
    POSES: ClassVar = dict(global_orient=1, neck_pose=1, jaw_pose=1, leye_pose=1, reye_pose=1)
    HEAD_JOINT = 0

    def __init__(self, path: str | Path, num_betas: int = 100, num_expression: int = 50) -> None:
        super().__init__(path, num_betas, num_expression)

    def _output_joints(self, vertices: Tensor, joints: Tensor, world: Tensor) -> Tensor:
        return torch.cat((joints, self._face_points(vertices, world)), 1)


@MODELS.register_module()
class SMPLX(FaceModel):
    """The whole body, with 55 joints, 21 vertices from the nose to the finger tips, and the 68 points of the face.

    Args:
        path: See ``BodyModel``.
        num_betas: Number of shape coefficients.
        num_expression: Number of expression coefficients.
    """

    CONVENTION = 'smplx'
    POSES: ClassVar = dict(
        global_orient=1, body_pose=21, jaw_pose=1, leye_pose=1, reye_pose=1, left_hand_pose=15, right_hand_pose=15
    )
    HEAD_JOINT = 12
    left_hand_mean: Tensor
    right_hand_mean: Tensor

    def __init__(self, path: str | Path, num_betas: int = 10, num_expression: int = 10) -> None:
        super().__init__(path, num_betas, num_expression)

    def _register_more(self, arrays: dict[str, np.ndarray]) -> None:
        super()._register_more(arrays)
        self._buffer('left_hand_mean', torch.from_numpy(arrays['hands_meanl']).reshape(15, 3))
        self._buffer('right_hand_mean', torch.from_numpy(arrays['hands_meanr']).reshape(15, 3))

    def _output_joints(self, vertices: Tensor, joints: Tensor, world: Tensor) -> Tensor:
        vertex_joints = vertices[:, list(conventions.SMPLX_VERTEX_JOINTS.values())]
        return torch.cat((joints, vertex_joints, self._face_points(vertices, world)), 1)
