"""Class folders: labels, names, and the errors for folders that do not fit."""

from pathlib import Path

import pytest
from mmengine.config import Config
from mmpretrain.datasets.categories import IMAGENET_CATEGORIES
from PIL import Image

from mogacls import ImageFolder
from moganet.run import engine
from moganet.run.config import load_config
from moganet.run.preflight import check_data

CONFIGS = Path(__file__).parents[2] / 'configs/cls'
TINY = dict(embed_dims=(8, 16, 24, 32), depths=(1, 1, 1, 1), ffn_ratios=(2, 2, 2, 2))


def write_images(root: Path, counts: dict[str, int]) -> None:
    """Write a data set; ``counts`` maps split/class to a number of images."""
    for folder, count in counts.items():
        (root / folder).mkdir(parents=True)
        for i in range(count):
            Image.new('RGB', (40, 32), (i, 128, 200)).save(root / folder / f'{i}.png')


@pytest.fixture
def flowers(tmp_path):
    root = tmp_path / 'flowers'
    write_images(root, {'train/aster': 2, 'train/iris': 2, 'train/rose': 2, 'val/aster': 1, 'val/rose': 2})
    return root


def own_config(root: Path, num_classes: int, **options) -> Config:
    """Return the config for users' data, as set on the command line."""
    options = {'data_root': str(root), 'model.head.num_classes': num_classes, 'val_evaluator.topk': 1, **options}
    return load_config(CONFIGS / 'moganet_t_own_data.py', options)


def test_image_folder_numbers_every_split_by_the_folders_of_train(flowers):
    val = ImageFolder(data_root=str(flowers), split='val')
    found = [(Path(val[i]['img_path']).parent.name, val[i]['gt_label']) for i in range(len(val))]
    assert found == [('aster', 0), ('rose', 2), ('rose', 2)]
    assert val.metainfo['classes'] == ('aster', 'iris', 'rose')
    assert val[0]['num_classes'] == 3


def test_image_folder_passes_over_hidden_folders(flowers):
    write_images(flowers, {'train/.ipynb_checkpoints': 1, 'val/.thumbnails': 1})
    assert ImageFolder(data_root=str(flowers), split='train').metainfo['classes'] == ('aster', 'iris', 'rose')
    assert len(ImageFolder(data_root=str(flowers), split='val')) == 3


def test_image_folder_names_imagenets_numbers(tmp_path):
    write_images(tmp_path, {f'train/n{i:08d}': 0 for i in range(999)} | {'train/n99999999': 1})
    train = ImageFolder(data_root=str(tmp_path), split='train')
    assert train.metainfo['classes'] == IMAGENET_CATEGORIES
    assert train[0]['gt_label'] == 999


def test_image_folder_refuses_a_class_that_train_has_not(flowers):
    write_images(flowers, {'val/tulip': 1})
    with pytest.raises(ValueError, match=r"val has the class folder 'tulip', which train has not"):
        ImageFolder(data_root=str(flowers), split='val')


def test_image_folder_refuses_a_split_without_images(tmp_path):
    write_images(tmp_path, {'train/aster': 0})
    with pytest.raises(ValueError, match='train holds no images'):
        ImageFolder(data_root=str(tmp_path), split='train')


def test_image_folder_names_the_layout_when_a_split_is_missing(tmp_path):
    write_images(tmp_path, {'train/aster': 1})
    with pytest.raises(FileNotFoundError, match=r'val does not exist; expected train/<class>/\*\.jpg'):
        ImageFolder(data_root=str(tmp_path), split='val')
    with pytest.raises(FileNotFoundError, match='holds no class folders'):
        ImageFolder(data_root=str(tmp_path / 'nowhere'), split='train')


def test_image_folder_names_a_broken_image(flowers):
    (flowers / 'train/iris/0.png').write_bytes(b'\x89PNG but not really')
    steps = [dict(type='LoadImageFromFile')]
    train = ImageFolder(data_root=str(flowers), split='train', pipeline=steps)
    with pytest.raises(ValueError, match=r'train/iris/0\.png cannot be read as an image'):
        train[2]


def test_check_accepts_data_that_fit(flowers):
    check_data(own_config(flowers, 3), ('train_dataloader', 'val_dataloader'))


@pytest.mark.parametrize(
    ('options', 'match'),
    [
        ({'model.head.num_classes': 4}, r'has 3 class folders and the head 4 classes: set .*num_classes=3'),
        (
            {'val_evaluator.topk': [1, 5]},
            r'val_evaluator\.topk=\[1, 5\] asks for more than the 3 classes: set .*topk=1',
        ),
        (
            {'train_dataloader.drop_last': True, 'train_dataloader.batch_size': 7},
            r'train has 6 images, less than one batch of 7, .*train_dataloader\.batch_size=N',
        ),
    ],
)
def test_check_refuses_data_that_do_not_fit(flowers, options, match):
    with pytest.raises(ValueError, match=match):
        check_data(own_config(flowers, 3, **options), ('train_dataloader', 'val_dataloader'))


def test_check_counts_the_batches_of_all_processes(flowers, monkeypatch):
    cfg = own_config(flowers, 3, **{'train_dataloader.drop_last': True, 'train_dataloader.batch_size': 3})
    monkeypatch.setenv('WORLD_SIZE', '2')
    check_data(cfg, ('train_dataloader',))
    monkeypatch.setenv('WORLD_SIZE', '3')
    with pytest.raises(ValueError, match='less than one batch of 9'):
        check_data(cfg, ('train_dataloader',))


def test_check_finds_an_unknown_class_folder_before_anything_is_built(flowers):
    write_images(flowers, {'val/tulip': 1})
    with pytest.raises(ValueError, match="class folder 'tulip'"):
        check_data(own_config(flowers, 3), ('train_dataloader', 'val_dataloader'))


def test_own_data_train_with_two_options_and_keep_their_names(flowers, tmp_path):
    cfg = own_config(flowers, 3)
    cfg.model.backbone = dict(type='MogaNet', arch=TINY)
    cfg.model.head.in_channels = 32
    cfg.train_cfg.max_epochs = 1
    cfg.work_dir = str(tmp_path)
    for name in ('train_dataloader', 'val_dataloader'):
        cfg[name].update(batch_size=3, num_workers=0)
    runner = engine.build_runner(cfg, ('train_dataloader', 'val_dataloader'))
    runner.train()
    assert runner.model.head.fc.out_features == 3
    assert runner.visualizer.dataset_meta['classes'] == ('aster', 'iris', 'rose')
    correct = runner.message_hub.get_scalar('val/accuracy/top1').current()
    assert round(correct * 3 / 100, 3) in (0, 1, 2, 3)
