"""Reading, moving and refusing of configs by load_config, and smoke runs by shrink."""

import pytest
from mmengine.config import Config, ConfigDict

from helpers.cases import for_each
from moganet.run import tasks
from moganet.run.config import load_config, shrink
from moganet.run.preflight import check_data, datasets_of, register_layout
from moganet.run.tasks import find_task, task_of, task_package

RECIPE = """
data_root = 'data/a/'
model = dict(type='X', backbone=dict(type='MogaNet', init_cfg=dict(type='Pretrained', checkpoint='moganet://tiny_1k')))
inner = dict(type='D', data_root='data/a', ann_file='data/a/train.json')
train_dataloader = dict(batch_size=16, num_workers=4, dataset=dict(type='RepeatDataset', times=2, dataset=inner))
val_dataloader = dict(batch_size=16, num_workers=4, dataset=dict(type='D', data_root='data/a'))
val_evaluator = [dict(type='M', ann_file='data/a/val.json'), dict(type='N', other='data/ab/val.json')]
optim_wrapper = dict(optimizer=dict(type='AdamW', lr=1e-3))
train_cfg = dict(by_epoch=True, max_epochs=12, val_interval=3, dynamic_intervals=[(10, 1)])
custom_hooks = [dict(type='PreciseBNHook', num_samples=8192)]
default_hooks = dict(logger=dict(type='LoggerHook', interval=100))
"""


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / 'recipe.py'
    path.write_text(RECIPE)
    return path


def test_bases_of_all_mm_packages_are_found(tmp_path):
    bases = {
        'mmdet': 'retinanet/retinanet_r50_fpn_1x_coco.py',
        'mmseg': 'upernet/upernet_r50_4xb4-160k_ade20k-512x512.py',
        'mmpose': 'body_2d_keypoint/topdown_heatmap/coco/td-hm_res50_8xb64-210e_coco-256x192.py',
        'mmpretrain': 'resnet/resnet50_8xb32_in1k.py',
    }
    for scope, base in bases.items():
        path = tmp_path / f'{scope}.py'
        path.write_text(f"_base_ = '{scope}::{base}'\n")
        cfg = load_config(path)
        assert cfg.model.backbone.type.startswith('ResNet')
        assert cfg.default_scope == scope


def test_data_root_moves_data_sets_and_evaluators(recipe):
    cfg = load_config(recipe, {'data_root': 'elsewhere/'})
    inner = cfg.train_dataloader.dataset.dataset
    assert (inner.data_root, inner.ann_file) == ('elsewhere', 'elsewhere/train.json')
    assert cfg.val_dataloader.dataset.data_root == 'elsewhere'
    assert [metric.get('ann_file', metric.get('other')) for metric in cfg.val_evaluator] == [
        'elsewhere/val.json',
        'data/ab/val.json',  # another folder with a longer name
    ]
    assert cfg.data_root == 'elsewhere/'


def test_data_root_is_refused_where_roots_differ(recipe):
    recipe.write_text(RECIPE + "val_dataloader['dataset']['data_root'] = 'data/b'\n")
    with pytest.raises(ValueError, match=r'no single root.*data/a, data/b'):
        load_config(recipe, {'data_root': 'elsewhere'})


@pytest.mark.parametrize(
    ('option', 'words'),
    [
        ('optim_wraper.optimizer.lr', ['optim_wraper', "did you mean 'optim_wrapper'"]),
        ('optim_wrapper.optimiser.lr', ['optimiser', "did you mean 'optimizer'"]),
        ('train_cfg.max_epoch', ['max_epoch', "did you mean 'max_epochs'"]),
        ('nonsense', ['nonsense']),
        ('train_cfg.max_epochs.x', ['max_epochs', 'is a value']),
        ('custom_hooks.3.type', ['3', 'list of 1']),
        ('custom_hooks.first.type', ['first', 'no index']),
    ],
)
def test_misspelt_options_are_refused(recipe, option, words):
    with pytest.raises(ValueError, match='--cfg-options') as error:
        load_config(recipe, {option: 1})
    assert [word for word in words if word not in str(error.value)] == []


@pytest.mark.parametrize(
    ('option', 'value'),
    [
        ('optim_wrapper.clip_grad.max_norm', 5),
        ('model.backbone.with_cp', True),
        ('work_dir', 'w'),
        ('custom_hooks.0.num_samples', 4),
        ('find_unused_parameters', True),
    ],
)
def test_options_that_mmengine_knows_are_taken(recipe, option, value):
    node = load_config(recipe, {option: value})
    for key in option.split('.'):
        node = node[int(key)] if key.isdigit() else node[key]
    assert node == value


@pytest.mark.parametrize(
    ('line', 'words'),
    [
        ('optim_wraper = dict()', ["'optim_wraper'", "'optim_wrapper'"]),
        ('x = undefined_name', ['cannot be read', 'undefined_name']),
        ('x = (', ['cannot be read', 'SyntaxError']),
        ("_base_ = 'gone.py'", ['cannot be read', 'gone.py']),
    ],
)
def test_configs_that_cannot_be_read_are_named(recipe, line, words):
    recipe.write_text(f'{RECIPE}{line}\n')
    with pytest.raises(ValueError, match=r'config|key') as error:
        load_config(recipe)
    assert [word for word in (str(recipe), *words) if word not in str(error.value)] == []


def test_variables_of_the_users_own_are_no_mistakes(recipe):
    recipe.write_text(RECIPE + 'num_classes = 7\nmy_scale = (3, 4)\ntrain_pipeline = []\n_data_root = 3\n')
    assert load_config(recipe).num_classes == 7


def test_a_missing_config_names_its_neighbours(recipe):
    with pytest.raises(FileNotFoundError, match=r'recipes\.py does not exist; near it: recipe\.py'):
        load_config(recipe.with_name('recipes.py'))


def test_shrink_leaves_two_iterations_and_no_download(recipe):
    cfg = shrink(load_config(recipe))
    assert cfg.train_dataloader.batch_size == 2
    assert cfg.train_dataloader.dataset.dataset.indices == 4
    assert cfg.val_dataloader.num_workers == 0
    assert cfg.train_cfg == {'by_epoch': True, 'max_epochs': 1, 'val_interval': 1}
    assert cfg.model.backbone.init_cfg is None
    assert cfg.custom_hooks[0].num_samples == 4
    assert cfg.default_hooks.logger.interval == 1


def test_shrink_keeps_testing_image_by_image(recipe):
    cfg = load_config(recipe)
    cfg.val_dataloader.batch_size = cfg.train_dataloader.batch_size = 1
    shrink(cfg)
    assert (cfg.train_dataloader.batch_size, cfg.val_dataloader.batch_size) == (2, 1)
    assert cfg.val_dataloader.dataset.indices == 4


def test_shrink_reaches_data_sets_inside_of_others():
    parts = [{'type': 'A'}, {'type': 'RepeatDataset', 'times': 7, 'dataset': {'type': 'B'}}]
    cfg = Config({'train_dataloader': {'dataset': {'type': 'ConcatDataset', 'datasets': parts}}})
    dataset = shrink(cfg).train_dataloader.dataset
    assert 'indices' not in dataset
    assert 'indices' not in dataset.datasets[1]
    assert (dataset.datasets[0].indices, dataset.datasets[1].dataset.indices, dataset.datasets[1].times) == (4, 4, 1)


def test_shrink_keeps_iteration_based_training():
    cfg = Config({'model': {}, 'train_dataloader': {'dataset': {}}, 'train_cfg': {'type': 'I', 'max_iters': 80000}})
    assert shrink(cfg).train_cfg == {'type': 'I', 'max_iters': 2, 'val_interval': 2}


@for_each(
    [
        ({'default_scope': 'mmpretrain'}, 'cls'),
        ({'default_scope': 'mmdet'}, 'det'),
        ({'custom_imports': {'imports': ['moganet']}, 'default_scope': 'mmseg'}, 'seg'),
        ({'custom_imports': {'imports': ['mogavideo']}}, 'video'),
        ({'custom_imports': {'imports': ['mogapose.expose']}, 'default_scope': 'mmpose'}, 'expose'),
    ]
)
def test_task_of_reads_the_package_before_the_scope(cfg, task):
    assert task_of(Config(cfg)) == task


def test_task_of_an_unknown_scope_names_what_is_known():
    with pytest.raises(ValueError, match=r"default_scope is 'mmocr'.*mogacls.*mmpretrain"):
        task_of(Config({'default_scope': 'mmocr'}))


def test_the_package_of_a_config_is_not_the_core():
    assert task_package(Config({'custom_imports': {'imports': ['moganet', 'mogapose']}})) == 'mogapose'


@pytest.mark.parametrize(('task', 'word'), [('cats', 'no task'), ('music', 'needs mogamusic')])
def test_a_task_that_is_not_there_is_named(task, word, monkeypatch):
    monkeypatch.setitem(tasks.PACKAGES, 'music', 'mogamusic')
    with pytest.raises(ValueError, match=word):
        find_task(task)


def test_missing_data_are_named_with_their_layout(tmp_path):
    register_layout('LayoutOfATest', 'one/file.txt')
    dataset = {'type': 'LayoutOfATest', 'data_root': str(tmp_path / 'gone')}
    wrapped = {'dataset': {'type': 'Concat', 'datasets': [{'type': 'Other', 'data_root': str(tmp_path)}, dataset]}}
    cfg = Config({'train_dataloader': wrapped, 'val_dataloader': {'dataset': dataset}})
    assert [name for name, _ in datasets_of(cfg, ['train_dataloader'])] == ['train_dataloader'] * 2
    with pytest.raises(FileNotFoundError, match=r'gone.*train_dataloader.*one/file.txt.*data_root=DIR'):
        check_data(cfg, ['train_dataloader', 'val_dataloader'])


def test_missing_mini_data_are_named_with_the_command_that_writes_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cfg = Config({'test_dataloader': {'dataset': {'type': 'T', 'data_root': 'data/mini/det/'}}})
    with pytest.raises(FileNotFoundError, match=r'python tools/make_mini_data\.py --task det writes it'):
        check_data(cfg, ['test_dataloader'])


def test_only_loaders_in_use_are_checked(tmp_path):
    cfg = Config(
        {
            'train_dataloader': {'dataset': {'type': 'T', 'data_root': str(tmp_path / 'gone')}},
            'test_dataloader': {'dataset': {'type': 'T', 'data_root': str(tmp_path)}},
        }
    )
    check_data(cfg, ['test_dataloader'])
    assert isinstance(cfg.test_dataloader, ConfigDict)
