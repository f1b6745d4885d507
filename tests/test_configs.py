"""Checks of every config under configs/: it loads, builds, keeps to the form of configs and is consistent.

New configs are found automatically. A task with top-level variables of its own adds them to VARIABLES, and adds configs
of its MM package that take the backbone to HOSTS.
"""

import ast
import copy
import importlib.util
import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from moganet.run import engine, smoke
from moganet.run.config import CONVENTIONS, RUNNER_KEYS, dicts, load_config
from moganet.run.tasks import PACKAGES, find_task

ROOT = Path(__file__).parents[1]
CONFIGS = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / 'configs').rglob('*.py'))
SIZES = dict(xt='xtiny', t='tiny', s='small', b='base', l='large', xl='xlarge')
# Top-level variables of the MM packages' bases and of ours, beside those that MMEngine and the tools read.
VARIABLES = {
    *CONVENTIONS,
    *('dataset_type', 'data_preprocessor', 'bgr_mean', 'bgr_std'),  # mmpretrain's data sets
    *('backend_args', 'img_scales'),  # mmdet's data sets and test-time augmentation
    *('train_scales', 'box_head', 'bbox_head'),
    *('crop_size', 'img_ratios', 'norm_cfg', 'optimizer'),  # mmseg's data sets, models and schedules
    *('codec', 'data_mode'),  # mmpose's data sets
    'mini_pipeline',
}
# Ends of the names of configs that are no row of a table: they may differ from their parents in any number of lines.
EXAMPLES = ('mini', 'own_data', 'expose/body_moganet_s')
# Rows that differ in more than the size of the network: the size of the images in three pipelines, another backbone.
LONG_ROWS = (
    'configs/seg/upernet_moganet_xl_640.py',
    'configs/expose/hand_resnet18.py',
    'configs/expose/face_resnet18.py',
)
# Whole bodies have no mini data; tests/mogapose/expose/body_models/test_bodies.py trains on data of its own.
WITHOUT_MINI_DATA = ('configs/expose/body_moganet_s.py',)
# Images of each mini data set, enough for two iterations.
MAX_IMAGES = 24
TINY = dict(embed_dims=(8, 16, 24, 32), depths=(1, 1, 1, 1), ffn_ratios=(2, 2, 2, 2))


@cache
def loaded(path: str) -> Config:
    """Return the config. The tests share it and must not change it; ``fresh`` returns a copy."""
    return load_config(ROOT / path)


def fresh(path: str) -> Config:
    """Return a copy of the config that a test may change."""
    return copy.deepcopy(loaded(path))


@cache
def statements(path: str) -> tuple[str, list[ast.stmt]]:
    """Return the docstring of a config and the statements after it."""
    tree = ast.parse((ROOT / path).read_text())
    return ast.get_docstring(tree) or '', tree.body[1 if ast.get_docstring(tree) else 0 :]


def names_assigned(path: str) -> set[str]:
    """Return the top-level names that a config sets or changes."""
    targets = [target for statement in statements(path)[1] for target in getattr(statement, 'targets', [])]
    for i, target in enumerate(targets):
        while isinstance(target, ast.Subscript | ast.Attribute):
            target = target.value
        targets[i] = target.id
    return set(targets)


def local_parent(path: str) -> str | None:
    """Return the config of this repository that a config inherits from, or None."""
    bases = [s.value for s in statements(path)[1] if ast.unparse(s).startswith('_base_ =')]
    if not bases or not isinstance(bases[0], ast.Constant) or '::' in bases[0].value:
        return None
    return ((ROOT / path).parent / bases[0].value).resolve().relative_to(ROOT).as_posix()


CHILDREN = [path for path in CONFIGS if local_parent(path)]
ROWS = [path for path in CHILDREN if not path.removesuffix('.py').endswith(EXAMPLES)]
PARENTS = {local_parent(path) for path in ROWS}
LEAVES = [path for path in ROWS if path not in PARENTS]


def backbones(node: object) -> list[dict]:
    """Return the config of every MogaNet in a model."""
    if isinstance(node, dict):
        here = [node] if node.get('type') == 'MogaNet' else []
        return here + [found for value in node.values() for found in backbones(value)]
    return [found for value in node for found in backbones(value)] if isinstance(node, list | tuple) else []


def build_on_meta(cfg: Config) -> torch.nn.Module:
    """Build the model as the Runner does, without memory and without weights."""
    model = dict(cfg.model)
    if cfg.get('data_preprocessor'):
        model.setdefault('data_preprocessor', cfg.data_preprocessor)
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmengine')), torch.device('meta'):
        return MODELS.build(model)


def heads(model: Config) -> list[dict]:
    """Return the modules that read the backbone: the neck if it has channels, else every head."""
    necks = model.get('neck') or {}
    necks = [part for part in ([necks] if isinstance(necks, dict) else necks) if 'in_channels' in part]
    found = necks[:1]
    if not found:
        for name in ('head', 'decode_head', 'auxiliary_head', 'keypoint_head'):
            part = model.get(name) or []
            found += [p for p in ([part] if isinstance(part, dict) else part) if 'in_channels' in p]
    return found


def expected_channels(part: dict, maps: list[int]) -> int | list[int]:
    """Return ``in_channels`` of a module that reads backbone maps of these widths."""
    index = part.get('in_index', -1)
    if isinstance(part['in_channels'], int):
        return maps[index]
    return [maps[i] for i in index] if isinstance(index, list | tuple) else maps


def shrink_backbone(cfg: Config) -> None:
    """Change every MogaNet to four stages of one narrow block, and its neck and heads to fit."""
    for part in heads(cfg.model):
        index = cfg.model.backbone.get('out_indices', (3,))
        part['in_channels'] = expected_channels(part, [TINY['embed_dims'][i] for i in index])
    for backbone in backbones(cfg.model):
        backbone['arch'] = TINY


def shrink_heads(cfg: Config) -> None:
    """Limit the boxes per image of a detector, and narrow the heads of detectors and segmentors."""
    for node in dicts(cfg.model):
        node.update({key: min(node[key], 20) for key in ('nms_pre', 'max_per_img') if key in node})
        if node.get('type') == 'RandomSampler':
            node['num'] = 20
        if 'fc_out_channels' in node:
            node['fc_out_channels'] = 32
        if node.get('type') == 'SimVP':
            node.update(hid_S=4, hid_T=16, N_T=2)
        if node.get('type') in ('FPNHead', 'UPerHead', 'FCNHead'):
            node['channels'] = 32


def test_configs_are_found():
    assert 'configs/cls/moganet_xt.py' in CONFIGS
    assert 'configs/cls/moganet_t.py' in LEAVES
    assert 'configs/cls/moganet_s.py' in PARENTS


@pytest.mark.parametrize('path', CONFIGS)
def test_config_is_well_formed_and_builds(path):
    check_statements(path)
    check_command(path)
    check_keys(path)
    check_changed_steps(path)
    check_size_in_name(path)
    check_channels(path)


def check_statements(path):
    """A config has a docstring, and assigns values and dicts only."""
    docstring, body = statements(path)
    assert docstring
    assert {type(statement) for statement in body} == {ast.Assign}
    calls = {node.func for statement in body for node in ast.walk(statement) if isinstance(node, ast.Call)}
    assert {ast.unparse(call) for call in calls} <= {'dict'}
    forbidden = (ast.Lambda, ast.comprehension, ast.IfExp, ast.NamedExpr)
    assert not [node for statement in body for node in ast.walk(statement) if isinstance(node, forbidden)]


def check_command(path):
    """The docstring has the command of this config, with a tool that exists."""
    commands = re.findall(r'^ *(?:python )?(tools/\S+) (configs/\S+)', statements(path)[0], re.MULTILINE)
    assert commands
    assert {config for _, config in commands} == {path}
    assert all((ROOT / tool).is_file() for tool, _ in commands)


def check_keys(path):
    """Top-level keys are known, and ``custom_imports`` names the package of the task in the one form."""
    cfg = loaded(path)
    assert set(cfg) - RUNNER_KEYS - VARIABLES == set()
    assert cfg.custom_imports.imports[0] == PACKAGES[path.split('/')[1]]
    assert cfg.custom_imports.allow_failed_imports is False


def check_changed_steps(path):
    """A comment or the new step names the type of a list's step that is changed by index."""
    lines = (ROOT / path).read_text().splitlines()
    for statement in statements(path)[1]:
        target, keys = statement.targets[0], []
        while isinstance(target, ast.Subscript):
            keys.insert(0, ast.literal_eval(target.slice))
            target = target.value
        if not any(isinstance(key, int) for key in keys):
            continue
        node = loaded(path)[target.id]
        for key in keys[:-1]:
            node = node[key]
        if isinstance(keys[-1], int):  # a whole step, in place of the only one of its type
            types = [step['type'] for step in node]
            assert types.count(types[keys[-1]]) == 1, ast.unparse(statement)
        else:
            comment = lines[statement.lineno - 1].partition('  # ')[2]
            assert node['type'] == comment, ast.unparse(statement)


def check_size_in_name(path):
    """The size in the name of the file is the size of the backbone."""
    sizes = [SIZES[token] for token in Path(path).stem.split('_') if token in SIZES]
    assert [backbone['arch'] for backbone in backbones(loaded(path).model)] == sizes


def check_channels(path):
    """The model builds, and neck and heads have the channels of the backbone's maps."""
    cfg = loaded(path)
    model = build_on_meta(cfg)
    assert sum(p.numel() for p in model.parameters()) > 0
    if not backbones(cfg.model):
        return
    backbone = model.backbone
    maps = [backbone.embed_dims[i] for i in backbone.out_indices]
    parts = heads(cfg.model)
    assert parts, 'neither neck nor head says how many channels it reads'
    for part in parts:
        assert part['in_channels'] == expected_channels(part, maps), part['type']


@pytest.mark.parametrize('path', sorted(PARENTS | set(CONFIGS) - set(CHILDREN)))
def test_parent_says_what_to_expect_and_on_what_hardware(path):
    docstring = statements(path)[0]
    assert 'GPU' in docstring
    assert re.search(r'Expected: \S+|[Rr]eports no number|a number is published for', docstring)


@pytest.mark.parametrize('path', CHILDREN)
def test_child_changes_every_key_that_it_names(path):
    child, parent = loaded(path), loaded(local_parent(path))
    same = [name for name in names_assigned(path) - {'_base_'} if name in parent and child[name] == parent[name]]
    assert same == []


@pytest.mark.parametrize('path', LEAVES)
def test_leaf_is_a_small_difference(path):
    lines = {line for s in statements(path)[1] for line in range(s.lineno, s.end_lineno + 1)}
    text = (ROOT / path).read_text().splitlines()
    significant = [text[line - 1] for line in lines if re.search(r'\w', text[line - 1].partition('#')[0])]
    assert 2 <= len(significant) <= (16 if path in LONG_ROWS else 6)


def test_no_two_configs_are_the_same():
    seen = {}
    for path in CONFIGS:
        seen.setdefault(repr(sorted(loaded(path)._cfg_dict.items())), []).append(path)
    assert [paths for paths in seen.values() if len(paths) > 1] == []


@pytest.fixture(scope='module')
def mini_root(tmp_path_factory):
    """Return a folder in which the mini data of the tasks are written once."""
    return tmp_path_factory.mktemp('mini')


def trains_here(path: str) -> bool:
    """Return True if the task has mini data and the config is cheap or more than another size of its parent."""
    task = path.split('/')[1]
    has_data = importlib.util.find_spec(f'{PACKAGES[task]}.mini') is not None
    # The test replaces the size, so a leaf repeats its parent. Leaves run only in cls, where a run takes a second.
    return has_data and path not in WITHOUT_MINI_DATA and (task == 'cls' or path not in LEAVES)


TRAINABLE = [path for path in CONFIGS if trains_here(path)]


def limited(numbers: dict | int) -> dict | int:
    """Limit the numbers of images, per part and split, to MAX_IMAGES."""
    return {key: limited(n) for key, n in numbers.items()} if isinstance(numbers, dict) else min(numbers, MAX_IMAGES)


@pytest.mark.parametrize('path', TRAINABLE)
def test_config_trains_two_iterations(path, mini_root, tmp_path, monkeypatch):
    monkeypatch.chdir(mini_root)
    mini = find_task(path.split('/')[1]).mini
    if hasattr(mini, 'NUM_IMAGES'):
        monkeypatch.setattr(mini, 'NUM_IMAGES', limited(mini.NUM_IMAGES))
    # MMEngine formats the config for every log and checkpoint, which would take most of the time of so short a run.
    monkeypatch.setattr(Config, 'pretty_text', '')
    cfg = fresh(path)
    smoke.prepare(cfg)
    shrink_backbone(cfg)
    shrink_heads(cfg)
    cfg.work_dir = str(tmp_path)
    runner = engine.build_runner(cfg, ('train_dataloader', 'val_dataloader'))
    before = {name: p.detach().clone() for name, p in runner.model.named_parameters()}
    runner.train()
    assert runner.iter == 2
    losses, _ = runner.message_hub.get_scalar('train/loss').data
    assert len(losses) == 2
    assert np.isfinite(losses).all()
    changed = [name for name, p in runner.model.named_parameters() if not torch.equal(p, before[name])]
    # Stochastic depth of 0.8 leaves some blocks without a gradient.
    assert len(changed) > 0.5 * len(before)


# Configs of the MM packages into which a user may put the backbone: base, stages, other changes of the model.
ALL_STAGES = (0, 1, 2, 3)
HOSTS = [
    ('mmpretrain::resnet/resnet50_8xb32_in1k.py', (3,), 'head=dict(in_channels=256)'),
    ('mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py', ALL_STAGES, 'neck=dict(in_channels=[32, 64, 128, 256])'),
    ('mmdet::retinanet/retinanet_r50_fpn_1x_coco.py', ALL_STAGES, 'neck=dict(in_channels=[32, 64, 128, 256])'),
    (
        'mmseg::upernet/upernet_r50_4xb4-160k_ade20k-512x512.py',
        ALL_STAGES,
        'pretrained=None, decode_head=dict(in_channels=[32, 64, 128, 256]), auxiliary_head=dict(in_channels=128)',
    ),
    (
        'mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_res50_8xb64-210e_coco-256x192.py',
        (3,),
        'head=dict(in_channels=256)',
    ),
]


@pytest.mark.parametrize(('base', 'stages', 'changes'), HOSTS, ids=[base for base, _, _ in HOSTS])
def test_users_own_config_takes_the_backbone(base, stages, changes, tmp_path):
    path = tmp_path / 'own.py'
    path.write_text(
        f"_base_ = '{base}'\n"
        "custom_imports = dict(imports=['moganet'])\n"
        f"backbone = dict(_delete_=True, type='MogaNet', arch='tiny', out_indices={stages})\n"
        f'model = dict(backbone=backbone, {changes})\n'
    )
    model = build_on_meta(load_config(path))
    assert type(model.backbone).__module__ == 'moganet.backbone'
    assert model.backbone.out_indices == stages
    assert sum(p.numel() for p in model.backbone.parameters()) == 4940332
