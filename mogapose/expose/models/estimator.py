"""ExPose's network for one part of the body, which estimates a posed body model from an image crop."""

from collections.abc import Mapping, Sequence

import torch
from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from ..body_models.layers import FLAME, MANO, SMPLX
from ..registry import MODELS
from . import released_names
from .conventions import JOINT_GROUPS
from .losses import ElementwiseLoss
from .mean_parameters import means_of_body_model
from .rotation import axis_angle_to_matrix, weak_perspective

# The estimator's arguments for losses, with MMHuman3D's names, and the labels that each loss compares with.
LOSSES = dict(
    loss_keypoints2d=('keypoints2d',),
    loss_keypoints3d=('keypoints3d',),
    loss_smplx_global_orient=('global_orient',),
    loss_smplx_body_pose=('body_pose',),
    loss_smplx_hand_pose=('left_hand_pose', 'right_hand_pose'),
    loss_smplx_jaw_pose=('jaw_pose',),
    loss_smplx_expression=('expression',),
    loss_smplx_betas=('betas',),
    loss_smplx_betas_prior=('betas_prior',),
)
# Labels whose loss is weighted with the mean confidence of a group of key points.
WEIGHTED = dict(left_hand_pose='left_hand', right_hand_pose='right_hand', jaw_pose='face', expression='face')
# 3D key points of SMPL-X are relative to the middle of these joints, left and right hip.
HIPS = (1, 2)

DataSamples = Sequence[BaseDataElement]


@MODELS.register_module()
class SMPLXImageBodyModelEstimator(BaseModel):
    """ExPose's hand, face or body network.

    Args:
        backbone: Config of the backbone, whose last map the head reads.
        head: Config of an 'ExPoseHandHead', 'ExPoseFaceHead' or 'ExPoseBodyHead'.
        body_model: Config of a 'MANO', 'FLAME' or 'SMPLX' with its ``path``. The file is read at the first use: for a
            loss, a prediction or the mean hand. Loading weights and counting parameters do not need it.
        neck: Config of a neck between backbone and head.
        data_preprocessor: Config or module, usually ``dict(type='ImgDataPreprocessor', ...)``.
        body_model_train: MMHuman3D's name of ``body_model``.
        body_model_test: Accepted for MMHuman3D's configs and not used. There it differs from ``body_model_train`` only
            in the order of joints, which the metrics handle here.
        losses: Configs of losses by the names of ``LOSSES``. Others are not computed.

    Raises:
        ValueError: There is no body model, the head does not predict the labels of a loss, or a loss averages instead
            of summing.
        TypeError: An argument is unknown.
    """

    def __init__(
        self,
        backbone: dict,
        head: dict,
        body_model: dict | None = None,
        neck: dict | None = None,
        data_preprocessor: dict | nn.Module | None = None,
        body_model_train: dict | None = None,
        body_model_test: dict | None = None,
        **losses: dict | None,
    ) -> None:
        super().__init__(data_preprocessor)
        self.backbone = MODELS.build(backbone)
        self.neck = None if neck is None else MODELS.build(neck)
        self.head = MODELS.build(released_names.ported_head(head))
        body_model = body_model or body_model_train
        if not body_model:
            raise ValueError("body_model is missing: expected dict(type='MANO', 'FLAME' or 'SMPLX', path=...)")
        self.body_model_cfg = released_names.ported_body_model(body_model)
        self.convention = _convention(self.body_model_cfg['type'])
        self._body_model: nn.Module | None = None
        self._check_losses(losses)
        self.losses = nn.ModuleDict({name: MODELS.build(loss) for name, loss in losses.items() if loss is not None})
        for name, loss in self.losses.items():
            if isinstance(loss, ElementwiseLoss) and loss.reduction != 'sum':
                raise ValueError(f"{name}: reduction={loss.reduction!r}: expected 'sum', here divided by the samples")

    def _check_losses(self, losses: Mapping[str, dict | None]) -> None:
        predicted = {*self.head.slices, 'keypoints2d', 'betas_prior'}
        predicted |= {'keypoints3d'} if self.convention == 'smplx' else set()
        for name in losses:
            if name not in LOSSES:
                raise TypeError(f'unexpected argument {name!r}: the losses are {", ".join(LOSSES)}')
            if losses[name] is not None and not predicted & set(LOSSES[name]):
                raise ValueError(
                    f'{name}: {type(self.head).__name__} on {self.convention} predicts nothing of the kind'
                )

    @property
    def body_model(self) -> nn.Module:
        """The body model, read from its file at the first use.

        Raises:
            FileNotFoundError: The licensed file does not exist; the message says where to get it.
            ValueError: The file is no such body model.
        """
        if self._body_model is None:
            mean = self.head.regressor.mean_param
            body_model = MODELS.build(self.body_model_cfg)
            self._body_model = body_model.to(mean.device)
            if mean.dtype == torch.float64:
                self._body_model.double()
        return self._body_model

    def init_weights(self) -> None:
        """Initialise backbone, neck and head, and set the head's mean hand poses.

        They are those of the body model, unless the head has read mean poses from a file.
        """
        super().init_weights()
        if self.head.mean_pose_path is None and self.head.layout.with_mean:
            self.head.set_mean_poses(means_of_body_model(self.body_model))

    def from_released(self, state_dict: Mapping[str, Tensor]) -> tuple[Mapping[str, Tensor], str]:
        """Rename the tensors of a released checkpoint; ``moganet.checkpoint`` calls it before comparing names.

        Args:
            state_dict: The checkpoint's tensors by name.

        Returns:
            The tensors under our names, and a sentence about those that were dropped.

        Raises:
            ValueError: The checkpoint is of another layout, see ``released_names.from_released``.
        """
        return released_names.from_released(state_dict, self.head.slices)

    def forward(
        self, inputs: Tensor, data_samples: DataSamples | None = None, mode: str = 'tensor'
    ) -> dict | list[BaseDataElement]:
        """Estimate hand, face or body of each crop.

        Args:
            inputs: (B, 3, R, R), normalised.
            data_samples: One per crop. The loss needs their labels.
            mode: 'tensor', 'loss' or 'predict'.

        Returns:
            With 'tensor' the head's output, without the body model. With 'loss' a dict of losses. With 'predict' the
            data samples with ``pred_vertices`` (V, 3) and ``pred_joints`` (K, 3) in metres, ``pred_faces`` (F, 3), the
            body model's triangles, ``pred_cam`` (3,), ``pred_<name>`` of each pose (rotation matrices), ``pred_betas``
            and ``pred_expression``.

        Raises:
            ValueError: The mode is unknown, or labels are missing or do not fit.
        """
        if mode == 'tensor':
            return self.head(self.extract_feat(inputs))
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        raise ValueError(f'mode={mode!r}: expected tensor, loss or predict')

    def extract_feat(self, inputs: Tensor) -> Sequence[Tensor]:
        """Return the maps (B, C, H, W) of backbone and neck for ``inputs`` (B, 3, R, R)."""
        features = self.backbone(inputs)
        return features if self.neck is None else self.neck(features)

    def predict(self, inputs: Tensor, data_samples: DataSamples | None = None) -> list[BaseDataElement]:
        """Predict, see ``forward``.

        Args:
            inputs: (B, 3, R, R), normalised.
            data_samples: The samples to which the predictions are added; new ones by default.

        Returns:
            The samples with their predictions.
        """
        output = self.head(self.extract_feat(inputs))
        body = self.body_model(**output['pred_param'])
        fields = dict(pred_vertices=body['vertices'], pred_joints=body['joints'], pred_cam=output['pred_cam'])
        fields |= {f'pred_{name}': value for name, value in output['pred_param'].items()}
        data_samples = [BaseDataElement() for _ in inputs] if data_samples is None else list(data_samples)
        for i, sample in enumerate(data_samples):
            sample.set_data({name: value[i] for name, value in fields.items()} | dict(pred_faces=self.body_model.faces))
        return data_samples

    def loss(self, inputs: Tensor, data_samples: DataSamples | None) -> dict[str, Tensor]:
        """Compute the losses of the config, each over the samples that have its label, zero if there are none.

        Args:
            inputs: (B, 3, R, R), normalised.
            data_samples: One per crop, with labels.

        Returns:
            ``loss_<label>`` of each label, scalars.

        Raises:
            ValueError: There are no samples, the crops are not square, or a label is missing or has another shape.
        """
        if not data_samples:
            raise ValueError('the loss needs data_samples with labels')
        height, width = inputs.shape[-2:]
        if height != width:
            raise ValueError(f'inputs are {height}x{width}: expected square crops')
        output = self.head(self.extract_feat(inputs))
        with torch.autocast(inputs.device.type, enabled=False):  # also for the rotation matrices of the labels
            return self._losses(output, _Labels(data_samples, JOINT_GROUPS[self.convention]), height)

    def _losses(self, output: dict, labels: '_Labels', side: int) -> dict[str, Tensor]:
        """Return the losses of the head's output; ``side`` is the crops' height and width in pixels."""
        predictions = dict(output['pred_param'])
        predictions['betas_prior'] = predictions['betas']
        if {'loss_keypoints2d', 'loss_keypoints3d'} & set(self.losses):
            joints = self.body_model(**output['pred_param'])['joints']
            predictions['keypoints2d'] = weak_perspective(joints, output['pred_cam'])
            predictions['keypoints3d'] = joints
        losses = {}
        for argument, loss in self.losses.items():
            for name in LOSSES[argument]:
                if name in predictions:
                    losses[f'loss_{name}'] = self._term(name, loss, predictions[name], labels, side)
        return losses

    def _term(self, name: str, loss: nn.Module, pred: Tensor, labels: '_Labels', side: int) -> Tensor:
        if name == 'betas_prior':
            return loss(pred)
        rows, target = labels.get(name)
        pred, target = pred[rows], target.to(pred)
        weight: Tensor | None = None
        if name.startswith('keypoints'):
            target, weight = target[..., :-1], target[..., -1:]
            if name == 'keypoints2d':
                target = 2 * target / (side - 1) - 1
            else:
                pred, target = (x - x[:, list(HIPS)].mean(1, keepdim=True) for x in (pred, target))
        elif name in WEIGHTED:
            weight = labels.visibility(WEIGHTED[name], rows).to(pred)
        if not isinstance(loss, ElementwiseLoss):
            return loss(pred, axis_angle_to_matrix(target), weight)
        _check_shapes(name, pred, target)
        return loss(pred, target, weight) / max(len(rows), 1)


class _Labels:
    """The labels of a batch, stacked field by field."""

    def __init__(self, data_samples: DataSamples, joint_groups: Mapping[str, Sequence[int]]) -> None:
        self.samples = data_samples
        self.joint_groups = joint_groups

    def get(self, name: str) -> tuple[Tensor, Tensor]:
        """Return the indices (B',) of the samples that have a label, and their labels (B', ...).

        Raises:
            ValueError: A sample lacks the field, or the samples differ in its shape.
        """
        has = self._stacked(f'has_{name}', name).flatten()
        rows = has.nonzero().flatten()
        return rows, self._stacked(name, name)[rows]

    def visibility(self, group: str, rows: Tensor) -> Tensor:
        """Return the mean confidence (B', 1) of a group of 2D key points in the samples ``rows`` (B',)."""
        points = self._stacked('keypoints2d', 'keypoints2d')[rows]
        return points[:, list(self.joint_groups[group]), 2].mean(1, keepdim=True)

    def _stacked(self, field: str, label: str) -> Tensor:
        for sample in self.samples:
            if field not in sample:
                raise ValueError(f'a data sample has no {field!r}, which the loss of {label} needs: is it packed?')
        try:
            return torch.stack([sample.get(field) for sample in self.samples])
        except RuntimeError:
            shapes = sorted({tuple(sample.get(field).shape) for sample in self.samples})
            raise ValueError(f'{field} differs in shape within a batch: {", ".join(map(str, shapes))}') from None


def _convention(name: str) -> str:
    """Return the convention, 'mano', 'flame' or 'smplx', of a registered body model."""
    known: dict[str, str] = {model.__name__: model.CONVENTION for model in (MANO, FLAME, SMPLX)}
    if name not in known:
        raise ValueError(f'body_model: type={name!r}: expected {", ".join(known)}')
    return known[name]


def _check_shapes(name: str, pred: Tensor, target: Tensor) -> None:
    if pred.shape[1:] != target.shape[1:]:
        predicted, labelled = tuple(pred.shape[1:]), tuple(target.shape[1:])
        raise ValueError(f'{name}: a label has shape {labelled}, the model predicts {predicted}')
