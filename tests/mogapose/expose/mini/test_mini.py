"""The real data set reads the mini data, and their labels agree with their pictures."""

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.tool_runs import ROOT
from moganet.run.config import load_config
from mogapose.expose import mini
from mogapose.expose.body_models.layers import FLAME, MANO
from mogapose.expose.data.datasets import HumanDataDataset
from mogapose.expose.data.transforms import PackExPoseInputs
from mogapose.expose.evaluation.metrics import FaceScanMetric, HandMeshMetric
from mogapose.expose.mini import rendered_crops
from mogapose.expose.mini.synthetic_body_models import FILES
from mogapose.expose.models.conventions import FACE3D_IN_FLAME
from mogapose.expose.models.rotation import axis_angle_to_matrix

NUM_IMAGES = dict(hand=dict(train=24, val=8), face=dict(train=12, val=4))
CONVENTIONS = dict(hand='mano', face='flame')
parts = pytest.mark.parametrize('part', NUM_IMAGES)


@pytest.fixture
def root(mini_expose):
    return mini_expose


def dataset(root, part, split, **options):
    return HumanDataDataset(
        f'{part}_{split}.npz', CONVENTIONS[part], data_root=str(root), test_mode=split == 'val', **options
    )


def samples(root, part, split):
    found = dataset(root, part, split)
    return [found.get_data_info(i) for i in range(len(found))]


def posed(root, part, sample):
    """Vertices and joints of the folder's body model for a sample's parameters."""
    model = dict(hand=MANO, face=FLAME)[part](root / 'body_models' / FILES[CONVENTIONS[part]])
    inputs = {
        name: torch.from_numpy(np.float32(sample[name]))[None]
        for name in (*model.POSES, 'betas', 'expression')
        if name in sample
    }
    inputs = {n: v if n in ('betas', 'expression') else axis_angle_to_matrix(v) for n, v in inputs.items()}
    with torch.no_grad():
        body = model(**inputs)
    return body['vertices'][0].numpy(), body['joints'][0].numpy()


def test_default_numbers():
    numbers = mini.NUM_IMAGES
    assert numbers == dict(hand=dict(train=4800, val=200), face=dict(train=2400, val=60))


@parts
@pytest.mark.parametrize('split', ['train', 'val'])
def test_the_real_data_set_reads_everything(root, part, split):
    found = samples(root, part, split)
    assert len(found) == NUM_IMAGES[part][split]
    assert len({sample['img_path'] for sample in found}) == len(found)
    poses = dict(hand='right_hand_pose', face='jaw_pose')
    for sample in found:
        for name in ('keypoints2d', 'global_orient', 'betas', poses[part]):
            assert sample[f'has_{name}'] == 1
        with Image.open(sample['img_path']) as image:
            assert image.size == (mini.SIDE, mini.SIDE)
        np.testing.assert_array_equal(sample['center'], [mini.SIDE / 2] * 2)
        np.testing.assert_array_equal(sample['scale'], [mini.SIDE] * 2)
        framed = sample['keypoints2d'][0 if part == 'hand' else 5 :]
        assert (framed[:, 2] == 1).all()
        assert (framed[:, :2] >= 0).all()
        assert (framed[:, :2] <= mini.SIDE - 1).all()
        assert np.ptp(framed[:, :2], 0).max() > 0.5 * mini.SIDE


@parts
def test_key_points_are_what_a_pinhole_camera_sees_of_the_parameters(root, part):
    """Key points follow exactly from joints, with focal length, centre and position as unknowns."""
    for sample in samples(root, part, 'train')[:6]:
        _, joints = posed(root, part, sample)
        xy = sample['keypoints2d'][:, :2].astype(float)
        # x (Z + tz) = f X + cx Z + a, and the same of y: linear in tz, f, cx, a, cy, b.
        zero, one = np.zeros(len(xy)), np.ones(len(xy))
        rows = [
            np.stack((-xy[:, 0], joints[:, 0], joints[:, 2], one, zero, zero), 1),
            np.stack((-xy[:, 1], joints[:, 1], zero, zero, joints[:, 2], one), 1),
        ]
        right = (xy * joints[:, 2:]).T.ravel()
        solution, *_ = np.linalg.lstsq(np.concatenate(rows).astype(float), right, rcond=None)
        residual = np.concatenate(rows) @ solution - right
        distance = solution[0]
        assert 0.3 < distance < 2
        assert solution[1] > 0
        assert np.abs(residual).max() / distance < 0.02  # pixels


def test_the_truth_of_hands_is_that_of_their_parameters(root):
    for sample in samples(root, 'hand', 'val'):
        vertices, joints = posed(root, 'hand', sample)
        np.testing.assert_allclose(sample['gt_joints'] - sample['gt_joints'][0], joints - joints[0], atol=2e-6)
        np.testing.assert_allclose(sample['gt_vertices'] - sample['gt_joints'][0], vertices - joints[0], atol=2e-6)
        assert 0.4 < sample['gt_joints'][:, 2].mean() < 0.9


def test_skin_is_where_the_key_points_are(root):
    """Around visible key points the picture has the colour of the surface and changes little."""
    shares = []
    for sample in samples(root, 'hand', 'train'):
        image = np.asarray(Image.open(sample['img_path'])).astype(float)
        x, y = np.rint(sample['keypoints2d'][[0, 5, 9, 13], :2]).astype(int).T  # wrist and knuckles
        at = image[y, x]
        shares.append(np.mean((at[:, 0] > at[:, 2]) & (at[:, 0] + 6 > at[:, 1])))
    assert np.mean(shares) > 0.9  # reddish


def score(metric, data, changed=lambda sample: sample):
    for info in data:
        packed = PackExPoseInputs()(dict(info, img=np.zeros((4, 4, 3), np.uint8)))['data_samples']
        metric.process({}, [changed(packed).to_dict()])
    return metric.evaluate(len(data))


def test_truth_as_prediction_scores_zero_for_hands(root):
    def perfect(sample):
        sample.set_data(dict(pred_vertices=sample.gt_vertices * 2, pred_joints=sample.gt_joints * 2))
        return sample

    metrics = score(HandMeshMetric(), samples(root, 'hand', 'val'), perfect)
    assert metrics['hand/PA-MPJPE'] == pytest.approx(0, abs=1e-3)
    assert metrics['hand/PA-PVE'] == pytest.approx(0, abs=1e-3)


def test_truth_as_prediction_scores_zero_for_faces(root):
    """The scans' points lie on the surface, and the landmarks are the model's, for every orientation of the head."""
    data = samples(root, 'face', 'val')
    model = FLAME(root / 'body_models' / FILES['flame'])
    bodies = iter([posed(root, 'face', sample) for sample in data])

    def perfect(sample):
        vertices, joints = (torch.from_numpy(value) for value in next(bodies))
        sample.set_data(dict(pred_vertices=vertices, pred_joints=joints, pred_faces=model.faces))
        return sample

    metrics = score(FaceScanMetric(), data, perfect)
    assert metrics['face/3DRMSE'] == pytest.approx(0, abs=0.01)


def test_scans_are_dense_and_hold_other_points_than_the_mesh(root):
    for sample in samples(root, 'face', 'val'):
        _, joints = posed(root, 'face', sample)
        scan = sample['scan_vertices']
        assert 2000 < len(scan) < 6000
        steps = np.diff(np.unique(np.round(scan[:, 0], 2)))
        assert np.median(steps) == pytest.approx(mini.SCAN_STEP, abs=0.01)
        found, true = sample['scan_landmarks'], 1000 * joints[list(FACE3D_IN_FLAME)]
        between = [np.linalg.norm(points[:, None] - points[None], axis=-1) for points in (found, true)]
        np.testing.assert_allclose(*between, atol=0.01)
        # In the scanner's frame the head is upright: eyes above the mouth, nose ahead of both.
        assert found[:4, 1].min() > found[4, 1] > found[5:, 1].max()
        assert found[4, 2] > found[:4, 2].max()


@parts
def test_poses_and_shapes_of_val_are_not_in_train(root, part):
    name = dict(hand='right_hand_pose', face='expression')[part]
    train, val = (np.array([s[name].ravel() for s in samples(root, part, split)]) for split in ('train', 'val'))
    assert np.abs(val[:, None] - train[None]).max(-1).min() > 0.02
    everything = np.concatenate((train, val))
    assert len(np.unique(everything.round(4), axis=0)) == len(everything)


@parts
def test_photographs_of_val_are_the_splits_own(part, body_models, monkeypatch):
    asked = []

    def background(photos, split, random):
        asked.append(split)
        return np.zeros((20, 30, 3), np.float32)

    monkeypatch.setattr(rendered_crops, 'background', background)
    kind = CONVENTIONS[part]
    model = dict(hand=MANO, face=FLAME)[part](body_models / FILES[kind])
    take = dict(hand=rendered_crops.hands, face=rendered_crops.faces)[part]
    assert len(list(take(model, [], 'val', 32, [(0, 1), (0, 2)]))) == 2
    assert asked == ['val', 'val']


def test_fingers_bend_as_fingers_do(root):
    poses = np.array([s['right_hand_pose'] for s in samples(root, 'hand', 'train')])
    fingers = poses[:, :12].reshape(-1, 4, 3, 3)
    bend, aside, twist = fingers[..., 2], fingers[..., 1], fingers[..., 0]
    assert bend.min() > -0.35
    assert bend.max() < 1.7
    assert bend.max() > 1.0
    assert np.median(bend) > 0.2
    assert np.abs(aside).max() < 0.5
    assert np.abs(twist).max() < 1e-6


def test_faces_are_of_many_shapes_and_open_their_mouths(root):
    found = samples(root, 'face', 'train')
    betas, jaw = np.array([s['betas'] for s in found]), np.array([s['jaw_pose'][0] for s in found])
    assert np.abs(betas).max() < 3  # within the prior's margin
    outline = [1, 2, 4]  # width, length, jaw
    assert betas[:, outline].std() > 1.3 > 0.2 > betas[:, 14:].std() > 0.05
    assert jaw[:, 0].min() >= 0
    assert 0.3 < jaw[:, 0].max() <= 0.45


def test_the_same_data_every_time(root, tmp_path, monkeypatch):
    monkeypatch.setattr(mini, 'NUM_IMAGES', NUM_IMAGES)
    mini.make(tmp_path / 'again')
    files = sorted(path.relative_to(root) for path in root.rglob('*') if path.is_file())
    assert len(files) == 48 + 5 + 3
    assert {path.relative_to(tmp_path / 'again') for path in (tmp_path / 'again').rglob('*') if path.is_file()} == set(
        files
    )
    pictures = [file for file in files if file.suffix == '.jpg']
    assert [f for f in pictures if (root / f).read_bytes() != (tmp_path / 'again' / f).read_bytes()] == []
    for part in NUM_IMAGES:
        for one, other in zip(samples(root, part, 'val'), samples(tmp_path / 'again', part, 'val'), strict=True):
            np.testing.assert_array_equal(one['keypoints2d'], other['keypoints2d'])


def test_a_complete_folder_is_left_alone_and_another_one_too(tmp_path, monkeypatch):
    monkeypatch.setattr(mini, 'NUM_IMAGES', dict(hand=dict(train=2, val=1), face=dict(train=1, val=1)))
    folder = tmp_path / 'expose'
    folder.mkdir()
    (folder / 'mine.jpg').touch()
    with pytest.raises(ValueError, match='expose exists and is something else'):
        mini.make(folder)
    (folder / 'mine.jpg').unlink()
    mini.make(folder)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob('*')}
    assert '3 hands, 2 faces' in mini.make(folder)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob('*')} == before
    assert [path.name for path in tmp_path.iterdir()] == ['expose']


@pytest.mark.parametrize('config', ['hand_moganet_t', 'face_moganet_t'])
def test_use_points_any_recipe_at_the_mini_data(root, config):
    cfg = load_config(ROOT / f'configs/expose/{config}.py')
    part, pipeline = config.split('_')[0], cfg.train_dataloader.dataset.pipeline
    mini.use(cfg, str(root))
    assert cfg.train_dataloader.dataset.ann_file == f'{part}_train.npz'
    assert cfg.val_dataloader.dataset.ann_file == cfg.test_dataloader.dataset.ann_file == f'{part}_val.npz'
    assert cfg.val_dataloader.dataset.data_root == str(root)
    assert cfg.val_dataloader.dataset.data_prefix == dict(img='')
    assert cfg.train_dataloader.dataset.pipeline == pipeline
    assert cfg.model.body_model.path == str(root / 'body_models' / FILES[CONVENTIONS[part]])


def test_use_knows_the_names_of_mmhuman3d(root):
    from mmengine.config import Config

    cfg = Config(
        dict(
            model=dict(
                body_model_train=dict(type='FLAMELayer', model_path='x', num_betas=100),
                body_model_test=dict(type='FLAME', model_path='x', keypoint_dst='flame'),
            )
        )
    )
    mini.use(cfg, str(root))
    for name in ('body_model_train', 'body_model_test'):
        assert cfg.model[name].path == str(root / 'body_models/flame/FLAME_NEUTRAL.npz')
        assert 'model_path' not in cfg.model[name]


def test_there_are_no_mini_data_of_bodies(root):
    cfg = load_config(ROOT / 'configs/expose/hand_moganet_t.py', {'train_dataloader.dataset.convention': 'smplx'})
    with pytest.raises(ValueError, match="convention='smplx': there are mini data of mano, flame"):
        mini.use(cfg, str(root))


@parts
def test_mini_recipes_find_what_make_writes(root, part):
    cfg = load_config(ROOT / f'configs/expose/{part}_moganet_xt_mini.py')
    for loader, split in (('train_dataloader', 'train'), ('val_dataloader', 'val'), ('test_dataloader', 'val')):
        data = cfg[loader].dataset
        assert data.data_root == mini.ROOT
        assert (root / data.ann_file).is_file()
        assert split in data.ann_file
    assert cfg.model.body_model.path == f'{mini.ROOT}/{mini.BODY_MODEL_FOLDER}/{FILES[CONVENTIONS[part]]}'
