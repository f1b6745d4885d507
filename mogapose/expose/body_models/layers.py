"""MANO, FLAME and SMPL-X as layers: linear blend skinning after Loper et al., SMPL, SIGGRAPH Asia 2015."""

from pathlib import Path

import torch
from torch import Tensor, nn

from ..models import conventions
from ..registry import MODELS
from .files import BODY_MODELS, read_body_model
from .landmarks import contour_row, surface_points


class BodyModel(nn.Module):
    """Vertices and joints of rotations and shape. It has no parameters, and a state dict has nothing of it.

    Computes in float32 under autocast, in float64 after ``double()``.

    Args:
        path: The licensed file, or its ``.npz`` of ``tools/convert_body_model.py``.
        num_betas, num_expression: How many of the file's blend shapes are used.

    Attributes:
        POSES: Names of the pose arguments with their numbers of joints, in the order of the model's joints.
        faces: (F, 3) vertex numbers, counter-clockwise seen from outside.
    """

    CONVENTION: str
    POSES: dict[str, int]

    def __init__(self, path: str | Path, num_betas: int, num_expression: int = 0):
        super().__init__()
        arrays = read_body_model(path, self.CONVENTION)
        kind = BODY_MODELS[self.CONVENTION]
        shape_columns, expression_columns = next(c for c in kind.columns if sum(c) == arrays['shapedirs'].shape[-1])
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
        # Joints are linear in the shape: the regressor, thousands of columns wide, is applied once and for all.
        self._buffer('j_template', regressor @ template)
        self._buffer('j_shapedirs', torch.einsum('jv,vcn->jcn', regressor, shapedirs))
        self._buffer('faces', torch.from_numpy(arrays['f']))
        self.parents = kind.parents
        self._read_extra(arrays)

    def _buffer(self, name: str, value: Tensor) -> None:
        self.register_buffer(name, value.contiguous(), persistent=False)

    def _read_extra(self, arrays: dict) -> None:
        """What one model has beside the others."""

    def forward(
        self, global_orient: Tensor, betas: Tensor | None = None, expression: Tensor | None = None, **poses: Tensor
    ) -> dict[str, Tensor]:
        """Pose the model.

        Args:
            global_orient: (B, 1, 3, 3) rotation matrices, as of the poses below.
            betas: (B, num_betas); zeros by default.
            expression: (B, num_expression); zeros by default.
            poses: By the names of ``POSES``, (B, N, 3, 3) each; the identity by default.

        Returns:
            ``vertices`` (B, V, 3) and ``joints`` (B, K, 3) in metres, without translation.
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
        """All rotations (B, J, 3, 3) in the order of the joints."""
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

    def _coefficients(self, batch: int, **given: Tensor | None) -> Tensor:
        """Shape and expression (B, num_betas + num_expression) in one."""
        parts = []
        for (name, values), count in zip(given.items(), (self.num_betas, self.num_expression), strict=True):
            if values is None:
                values = self.v_template.new_zeros(batch, count)
            elif values.shape != (batch, count):
                raise ValueError(f'{name} has shape {tuple(values.shape)}, expected {(batch, count)}')
            parts.append(values.to(self.v_template))
        return torch.cat(parts, 1)

    def _chain(self, rotations: Tensor, joints: Tensor) -> tuple[Tensor, Tensor]:
        """World rotations (B, J, 3, 3) and positions (B, J, 3) of the joints, from the root outwards."""
        world, position = [rotations[:, 0]], [joints[:, 0]]
        for joint, parent in enumerate(self.parents[1:], start=1):
            offset = (joints[:, joint] - joints[:, parent])[..., None]
            position.append(position[parent] + (world[parent] @ offset).squeeze(-1))
            world.append(world[parent] @ rotations[:, joint])
        return torch.stack(world, 1), torch.stack(position, 1)

    def _skin(self, vertices: Tensor, rotation: Tensor, translation: Tensor) -> Tensor:
        """Vertices moved by the weighted mean of the joints' rigid motions."""
        motions = torch.cat((rotation, translation[..., None]), -1).flatten(2)
        motions = (self.weights @ motions).unflatten(-1, (3, 4))
        return (motions[..., :3] @ vertices[..., None]).squeeze(-1) + motions[..., 3]

    def _output_joints(self, vertices: Tensor, joints: Tensor, world: Tensor) -> Tensor:
        raise NotImplementedError


@MODELS.register_module()
class MANO(BodyModel):
    """The right hand. Joints: 21 in FreiHAND's order, finger tips included.

    ``hands_mean`` (15, 3), axis-angle, is the pose that MANO's own pose parameters are relative to; the pose given here
    is absolute.
    """

    CONVENTION = 'mano'
    POSES = dict(global_orient=1, right_hand_pose=15)

    def __init__(self, path: str | Path, num_betas: int = 10):
        super().__init__(path, num_betas)

    def _read_extra(self, arrays: dict) -> None:
        self._buffer('hands_mean', torch.from_numpy(arrays['hands_mean']).reshape(15, 3))

    def _output_joints(self, vertices: Tensor, joints: Tensor, world: Tensor) -> Tensor:
        tips = vertices[:, list(conventions.MANO_TIP_VERTICES)]
        return torch.cat((joints, tips), 1)[:, list(conventions.MANO_TO_FREIHAND)]


class FaceModel(BodyModel):
    """A model with a face: 51 landmarks and 17 points of the contour follow its joints."""

    # The joint whose rotation in the world turns the contour; FLAME's neck is left out, as in smplx 0.1.28.
    HEAD_JOINT: int

    def _read_extra(self, arrays: dict) -> None:
        for name in ('lmk', 'dynamic_lmk'):
            self._buffer(f'{name}_triangles', self.faces[torch.from_numpy(arrays[f'{name}_faces_idx'])])
            self._buffer(f'{name}_bary_coords', torch.from_numpy(arrays[f'{name}_bary_coords']))

    def _face_points(self, vertices: Tensor, world: Tensor) -> Tensor:
        """Landmarks and contour (B, 68, 3)."""
        row = contour_row(world[:, self.HEAD_JOINT])
        fixed = surface_points(vertices, self.lmk_triangles, self.lmk_bary_coords)
        contour = surface_points(vertices, self.dynamic_lmk_triangles[row], self.dynamic_lmk_bary_coords[row])
        return torch.cat((fixed, contour), 1)


@MODELS.register_module()
class FLAME(FaceModel):
    """The head. Joints: 5, then the 68 points of the face."""

    CONVENTION = 'flame'
    POSES = dict(global_orient=1, neck_pose=1, jaw_pose=1, leye_pose=1, reye_pose=1)
    HEAD_JOINT = 0

    def __init__(self, path: str | Path, num_betas: int = 100, num_expression: int = 50):
        super().__init__(path, num_betas, num_expression)

    def _output_joints(self, vertices: Tensor, joints: Tensor, world: Tensor) -> Tensor:
        return torch.cat((joints, self._face_points(vertices, world)), 1)


@MODELS.register_module()
class SMPLX(FaceModel):
    """The whole body. Joints: 55, then 21 vertices from the nose to the finger tips, then the 68 points of the face."""

    CONVENTION = 'smplx'
    POSES = dict(
        global_orient=1, body_pose=21, jaw_pose=1, leye_pose=1, reye_pose=1, left_hand_pose=15, right_hand_pose=15
    )
    HEAD_JOINT = 12

    def __init__(self, path: str | Path, num_betas: int = 10, num_expression: int = 10):
        super().__init__(path, num_betas, num_expression)

    def _read_extra(self, arrays: dict) -> None:
        super()._read_extra(arrays)
        self._buffer('left_hand_mean', torch.from_numpy(arrays['hands_meanl']).reshape(15, 3))
        self._buffer('right_hand_mean', torch.from_numpy(arrays['hands_meanr']).reshape(15, 3))

    def _output_joints(self, vertices: Tensor, joints: Tensor, world: Tensor) -> Tensor:
        extra = vertices[:, list(conventions.SMPLX_VERTEX_JOINTS.values())]
        return torch.cat((joints, extra, self._face_points(vertices, world)), 1)
