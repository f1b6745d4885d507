"""From a config to a Runner: what the tools of every task share."""

import copy
import os
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.distributed as dist
from mmengine.config import Config
from mmengine.registry import RUNNERS, DefaultScope
from mmengine.runner import Runner

from ..checkpoint.runner import use_safe_loader
from . import collate, hooks  # noqa: F401  registers
from .config import dicts
from .preflight import check_data

AMP_TYPES = ('float16', 'bfloat16')


def set_work_dir(cfg: Config, config_path: str | os.PathLike, work_dir: str | None) -> None:
    """The command line's folder, else the config's, else work_dirs/<name of the config>."""
    if work_dir or not cfg.get('work_dir'):
        cfg.work_dir = work_dir or str(Path('work_dirs', Path(config_path).stem))


def set_resume(cfg: Config, resume: str | None) -> None:
    """Go on from a checkpoint: 'auto' is the last one in the work folder, if there is one; None starts anew.

    Raises:
        FileNotFoundError: ``resume`` is a path and there is no such file.
    """
    if resume is None:
        return
    if resume != 'auto' and not Path(resume).is_file():
        raise FileNotFoundError(f'--resume {resume}: no such checkpoint; --resume alone takes the last one of the run')
    cfg.resume = True
    cfg.load_from = None if resume == 'auto' else resume


def set_amp(cfg: Config, dtype: str | None) -> None:
    """Mixed precision: 'float16', 'bfloat16', or 'auto' for bfloat16 where the GPU has it. None changes nothing.

    Raises:
        ValueError: the optimizer wrapper cannot be turned into the mixed-precision one.
    """
    if dtype is None:
        return
    if dtype == 'auto':
        dtype = 'float16' if torch.cuda.is_available() and not torch.cuda.is_bf16_supported() else 'bfloat16'
    wrapper = cfg.optim_wrapper
    if wrapper.get('type', 'OptimWrapper') not in ('OptimWrapper', 'AmpOptimWrapper'):
        raise ValueError(f'--amp: optim_wrapper has type {wrapper.type}, expected OptimWrapper or AmpOptimWrapper')
    wrapper.type = 'AmpOptimWrapper'
    wrapper.dtype = dtype
    # bfloat16 has float32's range, so nothing needs scaling; loss_scale=1. would still pay for the checks.
    wrapper.loss_scale = 'dynamic' if dtype == 'float16' else dict(enabled=False)


def set_auto_scale_lr(cfg: Config, enable: bool) -> None:
    """Scale the learning rate with the batch: linear, from ``auto_scale_lr.base_batch_size`` of the config.

    Raises:
        ValueError: the config does not say for which batch its rate is meant.
    """
    if not enable:
        return
    if not (cfg.get('auto_scale_lr') or {}).get('base_batch_size'):
        raise ValueError('--auto-scale-lr: the config has no auto_scale_lr.base_batch_size, the batch its rate is for')
    cfg.auto_scale_lr.enable = True


def set_seed(cfg: Config, seed: int | None) -> None:
    """The command line's seed, else the config's, else 0: a run without a seed could not be repeated or resumed."""
    if seed is not None or cfg.get('randomness', {}).get('seed') is None:
        cfg.merge_from_dict({'randomness.seed': seed or 0})


def adapt_to_hardware(cfg: Config) -> list[str]:
    """Replace what needs CUDA where there is none, in place; return what was replaced, a line each.

    A model that is built without this can predict and be counted all the same: SyncBN needs CUDA where several
    processes train, else it computes what BN does.
    """
    if torch.cuda.is_available():
        return []
    notes = []
    cfg.merge_from_dict({'env_cfg.dist_cfg.backend': 'gloo'})
    if cfg.get('launcher', 'none') != 'none':
        notes.append('gloo between the processes')
        if cfg.get('runner_type', 'Runner') == 'Runner' and not cfg.get('model_wrapper_cfg'):
            # MMEngine's default names the CUDA device of each process.
            unused = cfg.get('find_unused_parameters', False)
            cfg.model_wrapper_cfg = dict(device_ids=None, broadcast_buffers=False, find_unused_parameters=unused)
    replaced = set()
    for node in dicts(cfg.model):
        if node.get('type') == 'SyncBN':
            node['type'] = 'BN'
            replaced.add('BN for SyncBN')
    wrapper = cfg.get('optim_wrapper') or {}
    if wrapper.get('type') == 'AmpOptimWrapper':
        wrapper['type'] = 'OptimWrapper'
        for key in ('dtype', 'loss_scale', 'use_fsdp'):
            wrapper.pop(key, None)
        replaced.add('float32 for mixed precision')
    return notes + sorted(replaced)


def build_runner(cfg: Config, dataloaders: Sequence[str], trust_checkpoint: bool = False) -> Runner:
    """The Runner of a config, after the checks that are cheap now and expensive later.

    Args:
        cfg: As ``load_config`` gives it, with its work folder set.
        dataloaders: Those that will be used, such as ('train_dataloader', 'val_dataloader').
        trust_checkpoint: Load checkpoint files that hold more than data. The user's own explicit choice.

    Raises:
        FileNotFoundError, ValueError: data that is not there or does not fit the model.
    """
    use_safe_loader(trust=trust_checkpoint)
    notes = adapt_to_hardware(cfg)
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope')):
        check_data(cfg, dataloaders)
    set_seed(cfg, None)
    ours = [dict(type=name) for name in ('StrictLoad', 'PlainSchedulers', 'SeedEachIteration', 'StopOnBadLoss')]
    cfg.custom_hooks = [*copy.deepcopy(cfg.get('custom_hooks') or []), *ours]
    if cfg.get('launcher') == 'pytorch' and not torch.cuda.is_available() and not dist.is_initialized():
        dist.init_process_group('gloo')  # MMEngine's own start asks for a CUDA device first
    runner = RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
    if notes:
        runner.logger.info(f'no CUDA device here: {", ".join(notes)}')
    return runner
