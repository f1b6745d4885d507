"""Compares with the real MMHuman3D, which runs in a process with mmcv 1 and writes inputs and outputs."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.structures import BaseDataElement
from torch import nn

from mogapose.expose.data import transforms
from mogapose.expose.data.datasets import HumanDataDataset
from mogapose.expose.data.human_data import write_human_data
from mogapose.expose.evaluation.metrics import FaceScanMetric, HandMeshMetric
from mogapose.expose.models import conventions, losses
from mogapose.expose.models.estimator import SMPLXImageBodyModelEstimator
from mogapose.expose.models.released_names import from_released
from mogapose.expose.models.rotation import axis_angle_to_matrix, rot6d_to_matrix, weak_perspective
from mogapose.expose.registry import MODELS

ROOT = Path(__file__).parents[3]
ENVIRONMENT = ROOT / '.mmhuman3d'
PARTS = dict(
    hand=('MANO', 'mano/MANO_RIGHT.npz'),
    face=('FLAME', 'flame/FLAME_NEUTRAL.npz'),
    body=('SMPLX', 'smplx/SMPLX_NEUTRAL.npz'),
)
ROTATIONS = dict(
    hand=('smplx_global_orient', 'smplx_hand_pose'),
    face=('smplx_global_orient', 'smplx_jaw_pose'),
    body=('smplx_global_orient', 'smplx_body_pose', 'smplx_jaw_pose', 'smplx_hand_pose'),
)
SMPLX_KEYS = ('global_orient', 'body_pose', 'left_hand_pose', 'right_hand_pose', 'jaw_pose', 'expression')
TOLERANCE = 1e-5

if not ENVIRONMENT.is_dir():
    pytest.skip('MMHuman3D is not installed beside .venv: make parity-mmhuman3d', allow_module_level=True)


@pytest.fixture(scope='module')
def dumped(body_models, tmp_path_factory):
    """Inputs and results of MMHuman3D, by path."""
    folder = write_data(tmp_path_factory.mktemp('mmhuman3d'))
    path = os.pathsep.join(filter(None, [str(ENVIRONMENT), os.environ.get('PYTHONPATH')]))
    command = [sys.executable, str(ROOT / 'tests/legacy_mmhuman3d/dump.py'), str(body_models), str(folder)]
    ran = subprocess.run(command, env=dict(os.environ, PYTHONPATH=path), capture_output=True, text=True, cwd=ROOT)
    assert ran.returncode == 0, ran.stderr[-3000:]
    with np.load(folder / 'out.npz', allow_pickle=False) as archive:
        return dict(archive, folder=folder)


def write_data(folder):
    """HumanData of three images each, written by us: hands, and faces without 3D key points or shape."""
    random = np.random.default_rng(5)
    (folder / 'datasets/own').mkdir(parents=True)
    names = [f'{number}.jpg' for number in range(3)]
    for name in names:
        (folder / 'datasets/own' / name).touch()
    for convention in ('mano', 'flame'):
        slots = conventions.SLOTS[convention]
        poses = dict(global_orient=(1, 3), right_hand_pose=(15, 3), betas=(10,))
        if convention == 'flame':
            poses = dict(global_orient=(3,), jaw_pose=(3,), expression=(50,))
        hand = convention == 'mano'
        write_human_data(
            folder / 'preprocessed_datasets' / f'{convention}.npz',
            names,
            random.random((3, 4)) * 100 + 1,
            slots,
            keypoints2d=random.random((3, len(slots), 3)),
            keypoints3d=random.random((3, len(slots), 4)) if hand else None,
            smplx={name: random.normal(size=(3, *shape)) for name, shape in poses.items()},
        )
    return folder


def section(dumped, prefix):
    """Tensors below a path."""
    found = {name[len(prefix) + 1 :]: dumped[name] for name in dumped if name.startswith(f'{prefix}/')}
    assert found, prefix
    return {name: torch.from_numpy(np.array(value, order='C')) for name, value in found.items()}


def compare(subject, ours, theirs, tolerance=TOLERANCE):
    """Assert that two arrays agree within the tolerance, relative above 1; the message has the difference."""
    ours, theirs = (np.float64(x.detach() if torch.is_tensor(x) else x) for x in (ours, theirs))
    assert ours.shape == theirs.shape, (subject, ours.shape, theirs.shape)
    difference = (np.abs(ours - theirs) / np.maximum(np.abs(theirs), 1)).max()
    print(f'{subject:50} {theirs.size:8} numbers  {difference:.1e}')
    assert difference <= tolerance, (subject, difference)


class Features(nn.Module):
    """Replaces a body's backbone, which pools in MMHuman3D, by fixed features."""

    features: torch.Tensor

    def forward(self, inputs):
        return self.features


def estimator(part, state, body_models):
    """Our network with MMHuman3D's weights."""
    kind, file = PARTS[part]
    prior = dict(type='ShapeThresholdPriorLoss', margin=0.01)
    options = {f'loss_{name}': dict(type='RotationDistance') for name in ROTATIONS[part]}
    options['loss_keypoints2d'] = dict(type='L1Loss')
    if part != 'hand':
        options['loss_smplx_expression'] = dict(type='MSELoss')
    if part == 'body':
        options['loss_keypoints3d'] = dict(type='L1Loss')
        options['loss_smplx_betas'] = dict(type='MSELoss', loss_weight=0.001)
        MODELS.register_module(name='GivenFeatures', module=Features, force=True)
        backbone = dict(type='GivenFeatures')
    else:
        backbone = dict(type='MogaNet', arch='xtiny', out_indices=(3,), drop_path_rate=0.1)
    head = dict(type=f'ExPose{part.capitalize()}Head', in_channels=192)
    body_model = dict(type=kind, path=str(body_models / file))
    model = SMPLXImageBodyModelEstimator(backbone, head, body_model, loss_smplx_betas_prior=prior, **options)
    state, note = model.from_released(state)
    assert '4 second names' in note
    assert ('tensors of body_model_train' in note) == (part != 'body')
    model.load_state_dict(state, strict=True)
    return model


def samples(batch):
    """A batch of MMHuman3D as our data samples."""
    fields = {name.replace('smplx_', ''): value for name, value in batch.items() if name not in ('img', 'features')}
    count = len(batch['img'])
    return [BaseDataElement(**{name: value[i] for name, value in fields.items()}) for i in range(count)]


def their_losses(found):
    """Map MMHuman3D's names of losses to ours."""
    return {
        'loss_' + name.removesuffix('_loss').removeprefix('smplx_'): value
        for name, value in found.items()
        if name != 'loss'
    }


@pytest.mark.parametrize('part', PARTS)
def test_heads_are_mmhuman3ds(dumped, part):
    given = section(dumped, f'heads/{part}')
    head = MODELS.build(dict(type=f'ExPose{part.capitalize()}Head', in_channels=192)).eval()
    state, note = from_released(section(dumped, f'heads/{part}/state'), head.slices)
    compare(f'{part}: mean parameters', head.regressor.mean_param, state['regressor.mean_param'])
    head.load_state_dict(state, strict=True)
    assert '4 second names' in note
    features = given['features'] if part == 'body' else [given['features']]
    outputs = dict(out=head(features))
    if part != 'body':
        outputs['conditioned'] = head(features, given['cond'])
    for name, out in outputs.items():
        compare(f'{part}: {name} pred_cam', out['pred_cam'], given[f'{name}/pred_cam'])
        for group in ('pred_param', 'pred_raw'):
            expected = section(dumped, f'heads/{part}/{name}/{group}')
            assert set(out[group]) == set(expected)
            for key, value in expected.items():
                compare(f'{part}: {name} {key}', out[group][key], value)


@pytest.mark.parametrize('part', PARTS)
def test_estimators_losses_and_predictions_are_mmhuman3ds(dumped, body_models, part):
    root = f'estimators/{part}'
    batch = section(dumped, f'{root}/batch')
    model = estimator(part, section(dumped, f'{root}/state'), body_models).eval()
    if part == 'body':
        model.backbone.features = batch['features']
    with torch.no_grad():
        found = model(batch['img'], samples(batch), mode='loss')
        predicted = model(batch['img'], mode='predict')
    expected = their_losses(section(dumped, f'{root}/losses'))
    assert set(found) == set(expected)
    for name, value in expected.items():
        compare(f'{part}: {name}', found[name].reshape(()), value.reshape(()))
    for ours, theirs in (('vertices', 'vertices'), ('joints', 'keypoints_3d'), ('cam', 'camera')):
        stacked = torch.stack([sample.get(f'pred_{ours}') for sample in predicted])
        compare(f'{part}: predicted {ours}', stacked, section(dumped, f'{root}/out')[theirs])


def test_mmhuman3d_reads_our_pretrained_weights(dumped):
    assert dumped['pretrained'] == 0


@pytest.mark.parametrize('part', ['hand', 'face'])
def test_two_iterations_of_training_are_mmhuman3ds(dumped, body_models, part):
    """Training with dropout, stochastic depth and batch statistics: both draw the same random numbers."""
    root = f'estimators/{part}'
    batch = section(dumped, f'{root}/batch')
    model = estimator(part, section(dumped, f'{root}/state'), body_models).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, weight_decay=1e-4)
    expected = section(dumped, f'{root}/training/losses')
    for iteration in range(2):
        torch.manual_seed(100 + iteration)
        terms = model(batch['img'], samples(batch), mode='loss')
        for name, value in their_losses(expected).items():
            compare(f'{part}: iteration {iteration + 1} {name}', terms[name].reshape(()), value[iteration])
        loss = sum(terms.values())
        compare(f'{part}: iteration {iteration + 1} sum of losses', loss.reshape(()), expected['loss'][iteration])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert expected['loss'][0] != expected['loss'][1]
    before, after = model.from_released(section(dumped, f'{root}/state'))[0], model.state_dict()
    trained = model.from_released(section(dumped, f'{root}/training/state'))[0]
    assert set(trained) == set(after)
    moved = [name for name, _ in model.named_parameters() if not torch.equal(trained[name], before[name])]
    assert len(moved) == len(list(model.parameters()))
    # Adam's steps do not shrink with the gradient: if the gradient is rounding error, so is the step's direction.
    weights = torch.cat([(after[name] - trained[name]).abs().flatten() for name in moved])
    print(
        f'{part}: {len(weights)} parameters after two iterations: {(weights > TOLERANCE).float().mean():.1e} of them '
        f'differ by more than {TOLERANCE}, in the mean {weights.mean():.1e}'
    )
    assert weights.mean() < 1e-6
    assert (weights > TOLERANCE).float().mean() < 0.01


@pytest.mark.parametrize('kind', ['L1Loss', 'MSELoss'])
@pytest.mark.parametrize('reduction', ['sum', 'mean', 'none'])
def test_elementwise_losses_are_mmhuman3ds(dumped, kind, reduction):
    given = section(dumped, 'losses')
    loss = getattr(losses, kind)(reduction=reduction, loss_weight=0.3)
    for name, weight in (('plain', None), ('weighted', given['weight'])):
        ours = loss(given['pred'], given['target'], weight)
        compare(f'{kind} {reduction} {name}', ours, given[f'{kind}/{reduction}/{name}'])


def test_other_losses_are_mmhuman3ds(dumped):
    given = section(dumped, 'losses')
    loss = losses.RotationDistance(loss_weight=0.7)
    for name, weight in (('plain', None), ('weighted', given['rot_weight'])):
        ours = loss(given['rot_pred'], given['rot_target'], weight)
        compare(f'RotationDistance {name}', ours, given[f'RotationDistance/{name}'])
    for norm in ('l1', 'l2'):
        ours = losses.ShapeThresholdPriorLoss(norm=norm, loss_weight=0.2)(given['betas'])
        compare(f'ShapeThresholdPriorLoss {norm}', ours, given[f'ShapeThresholdPriorLoss/{norm}'])


def test_rotations_and_projection_are_mmhuman3ds(dumped):
    given = section(dumped, 'geometry')
    compare('6D to matrix', rot6d_to_matrix(given['six']), given['six_matrix'])
    compare('axis-angle to matrix', axis_angle_to_matrix(given['axis_angle']), given['axis_angle_matrix'])
    compare('weak perspective', weak_perspective(given['points'], given['camera']), given['projected'])


@pytest.mark.parametrize('convention', conventions.SLOTS)
def test_orders_of_key_points_are_mmhuman3ds(dumped, convention):
    given = section(dumped, f'conventions/{convention}')
    # MMHuman3D's names of hand joints have MANO's order, its arrays FreiHAND's: see conventions.HAND_SLOTS.
    slots = sorted(given['slots'].tolist()) if convention == 'mano' else given['slots'].tolist()
    assert slots == list(conventions.SLOTS[convention])
    pairs = {frozenset(pair) for pair in given['flip_pairs'].reshape(-1, 2).long().tolist()}
    assert pairs == {frozenset(pair) for pair in conventions.FLIP_PAIRS[convention]}
    parts = section(dumped, f'conventions/{convention}/parts')
    assert {name: tuple(found.tolist()) for name, found in parts.items()} == {
        name: tuple(sorted(found)) for name, found in conventions.JOINT_GROUPS[convention].items()
    }
    assert dumped['conventions/face3d_in_flame'].tolist() == list(conventions.FACE3D_IN_FLAME)


@pytest.mark.parametrize('convention', conventions.SLOTS)
def test_augmentations_are_mmhuman3ds(dumped, convention):
    """All six transforms in a row, with the same seeds of NumPy: the images are equal bit for bit."""
    pipeline = [
        transforms.BBoxCenterJitter(0.2),
        transforms.RandomHorizontalFlip(0 if convention == 'mano' else 0.5),
        transforms.GetRandomScaleRotation(30, 0.2, 0.6),
        transforms.MeshAffine(64),
        transforms.RandomChannelNoise(0.4),
        transforms.SimulateLowRes((1.0, 1.2, 1.5, 2.0, 3.0, 4.0)),
    ]
    flipped = set()
    for seed in range(6):
        prefix = f'transforms/{convention}/{seed}'
        given = {name.removeprefix('smplx_'): x.numpy() for name, x in section(dumped, f'{prefix}/in').items()}
        expected = section(dumped, f'{prefix}/out')
        shapes = {name: (1, 3) for name in ('global_orient', 'jaw_pose') if name in given}
        results = {name: x.reshape(shapes.get(name, x.shape)) for name, x in given.items()}
        results |= dict(convention=convention) | {f'has_{name}': 1.0 for name in SMPLX_KEYS}
        np.random.seed(seed)
        for transform in pipeline:
            results = transform(results)
        flipped.add(results['flipped'])
        assert results['flipped'] == bool(expected.pop('is_flipped').item())
        compare(f'{convention} {seed}: image', results['img'], expected.pop('img'), tolerance=0)
        for name, value in expected.items():
            ours = torch.as_tensor(results[name.removeprefix('smplx_')])
            compare(f'{convention} {seed}: {name}', ours.reshape(value.shape), value)
    assert flipped == ({False} if convention == 'mano' else {False, True})


@pytest.mark.parametrize('convention', ['mano', 'flame'])
@pytest.mark.parametrize('written_by', ['preprocessed_datasets', 'rewritten'])
def test_human_data_is_mmhuman3ds(dumped, convention, written_by):
    """MMHuman3D reads our files, and this code reads its files."""
    dataset = HumanDataDataset(
        f'{written_by}/{convention}.npz',
        convention,
        str(dumped['folder']),
        dict(img='datasets/own'),
        pipeline=[],
        test_mode=True,
    )
    for index in range(3):
        ours = dataset.get_data_info(index)
        for name, value in section(dumped, f'data/{convention}/{index}').items():
            key = name.replace('smplx_', '')
            if key.removeprefix('has_') in ours:
                compare(f'{convention} of {written_by} {index}: {name}', np.reshape(ours[key], value.shape), value)
            else:  # MMHuman3D also returns parts of the body that the convention lacks: flags and zeros
                assert key.startswith('has_') or not value.any()
    flags = {name: dumped[f'data/{convention}/0/has_{name}'].item() for name in ('keypoints3d', 'smplx_betas')}
    assert set(flags.values()) == {convention == 'mano'}


def test_hand_metrics_are_mmhuman3ds(dumped):
    given = section(dumped, 'metrics')
    evaluator = Evaluator(HandMeshMetric())
    for i in range(4):
        fields = {
            f'{side}_{name}': given[key + name][i]
            for side, key in (('gt', ''), ('pred', 'pred_'))
            for name in ('joints', 'vertices')
        }
        evaluator.process(data_samples=[BaseDataElement(**fields)])
    found = evaluator.evaluate(4)
    for name in ('PA-MPJPE', 'PA-PVE', 'MPJPE'):
        compare(f'{name} {found[f"hand/{name}"]:.4f} mm', found[f'hand/{name}'], given[name], tolerance=1e-6)


def test_face_metric_is_mmhuman3ds(dumped):
    """MMHuman3D computes closest points with trimesh."""
    given = section(dumped, 'metrics')
    joints = torch.zeros(73, 3, dtype=torch.float64)
    joints[list(conventions.FACE3D_IN_FLAME)] = given['landmarks']
    sample = dict(pred_vertices=given['mesh'], pred_joints=joints, pred_faces=given['faces'])
    sample |= dict(scan_vertices=given['scan'], scan_landmarks=given['scan_landmarks'])
    found = FaceScanMetric().measure(sample).item()
    compare(f'3DRMSE {found:.4f} mm', found, given['3DRMSE'], tolerance=1e-6)
