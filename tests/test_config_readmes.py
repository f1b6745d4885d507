"""The READMEs of configs/: tables are up to date, and their configs build."""

import re

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import HOOKS, STRATEGIES, DefaultScope
from mmpretrain.structures import DataSample
from torch.distributed.fsdp import FullyShardedDataParallel

from moganet.paper.metafile import CHECKOUT
from moganet.paper.tables import BLOCK, refreshed
from moganet.run.config import load_config

READMES = [CHECKOUT / 'README.md', *sorted(CHECKOUT.glob('configs/*/README.md'))]
WITH_TABLE = [path for path in READMES if path.exists() and BLOCK.search(path.read_text())]


@pytest.mark.parametrize('path', WITH_TABLE, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_table_is_what_the_metafile_says(path, tables_count_once):
    # Update the table with: python tools/paper_tables.py --write PATH
    assert refreshed(path, CHECKOUT) == path.read_text()


def test_classification_readme_has_its_table():
    assert CHECKOUT / 'configs/cls/README.md' in WITH_TABLE


def readme_config(word, tmp_path):
    """Return the config of configs/README.md that contains ``word``, on top of MogaNet-XL."""
    blocks = re.findall(r'```python\n(.*?)```', (CHECKOUT / 'configs/README.md').read_text(), re.DOTALL)
    (text,) = [block for block in blocks if word in block]
    parent = "_base_ = 'moganet_xl.py'\n"
    path = tmp_path / 'changed.py'
    path.write_text(f"_base_ = '{CHECKOUT}/configs/cls/moganet_xl.py'\n{text.removeprefix(parent)}")
    return load_config(path)


@pytest.fixture
def one_process_group(tmp_path, monkeypatch):
    monkeypatch.setenv('LOCAL_RANK', '0')
    torch.distributed.init_process_group('gloo', init_method=f'file://{tmp_path}/rendezvous', rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def test_fsdp_config_of_the_readme_shards_the_blocks(tmp_path, one_process_group):
    cfg = readme_config('FSDPStrategy', tmp_path)
    assert cfg.runner_type == 'FlexibleRunner'
    assert cfg.custom_hooks == [dict(type='SyncBuffersHook')]
    # A small size on the CPU. Its unit of 100,000 parameters corresponds to a million in XL.
    cfg.model.backbone.arch = 'xtiny'
    cfg.model.head.in_channels = 192
    cfg.strategy.model_wrapper.device_id = 'cpu'
    cfg.strategy.model_wrapper.auto_wrap_policy.min_num_params = 100_000
    env = dict(launcher='pytorch', dist_cfg=dict(backend='gloo'))
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        strategy = STRATEGIES.build(dict(cfg.strategy, work_dir=str(tmp_path), env_kwargs=env))
        model, optim_wrapper = strategy.prepare(cfg.model, optim_wrapper=cfg.optim_wrapper)
    units = [module for module in model.modules() if isinstance(module, FullyShardedDataParallel)]
    assert units[0] is model
    assert len(units) > 2
    assert 'flat_decay_mult' not in cfg.optim_wrapper.paramwise_cfg  # shards are 1-D
    decays = {group['weight_decay'] for group in optim_wrapper.optimizer.param_groups}
    assert decays == {0, 0.05}
    samples = [DataSample(metainfo=dict(num_classes=1000)).set_gt_label(label) for label in (0, 1)]
    data = dict(inputs=[torch.zeros(3, 32, 32, dtype=torch.uint8)] * 2, data_samples=samples)
    assert 6 < model.train_step(data, optim_wrapper=optim_wrapper)['loss'] < 8  # ln(1000) = 6.9


def test_accumulation_clipping_and_ema_of_the_readme_reach_the_runner(tmp_path):
    cfg = readme_config('accumulative_counts', tmp_path)
    optim_wrapper = build_optim_wrapper(torch.nn.Linear(2, 2), cfg.optim_wrapper)
    assert optim_wrapper._accumulative_counts == 2
    assert optim_wrapper.clip_grad_kwargs == dict(max_norm=5.0)
    ema = HOOKS.build(cfg.custom_hooks[1])
    assert ema.ema_cfg['momentum'] == 1e-4


def test_deepspeed_config_of_the_readme_reads(tmp_path):
    cfg = readme_config('DeepSpeedStrategy', tmp_path)
    assert cfg.strategy.zero_optimization.stage == 2
    assert cfg.optim_wrapper.type == 'DeepSpeedOptimWrapper'
