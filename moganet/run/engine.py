"""Settings of a run from the command line, and the Runner of a config. The tools of all tasks use them."""

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
    """Set the work folder: from the command line, else from the config, else work_dirs/<name of the config>.

    Args:
        cfg: Changed in place.
        config_path: The config file.
        work_dir: The command line's folder, if any.
    """
    if work_dir or not cfg.get('work_dir'):
        cfg.work_dir = work_dir or str(Path('work_dirs', Path(config_path).stem))


def set_resume(cfg: Config, resume: str | None) -> None:
    """Let the run resume from a checkpoint.

    Args:
        cfg: Changed in place.
        resume: A checkpoint file; 'auto' for the last one in the work folder, if there is one; None for a new run.

    Raises:
        FileNotFoundError: the checkpoint file does not exist.
    """
    if resume is None:
        return
    if resume != 'auto' and not Path(resume).is_file():
        raise FileNotFoundError(f'--resume {resume}: no such checkpoint; --resume alone takes the last one of the run')
    cfg.resume = True
    cfg.load_from = None if resume == 'auto' else resume


def set_amp(cfg: Config, dtype: str | None) -> None:
    """Set mixed precision.

    Args:
        cfg: Changed in place.
        dtype: 'float16', 'bfloat16', or 'auto' for bfloat16 where the device has it. None changes nothing.

    Raises:
        ValueError: the config's optimizer wrapper has another type than OptimWrapper and AmpOptimWrapper.
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
    # bfloat16 has the range of float32 and needs no loss scale. loss_scale=1. would still check every gradient.
    wrapper.loss_scale = 'dynamic' if dtype == 'float16' else dict(enabled=False)


def set_auto_scale_lr(cfg: Config, enable: bool) -> None:
    """Let the learning rate scale linearly with the total batch, from the config's ``auto_scale_lr.base_batch_size``.

    Args:
        cfg: Changed in place.
        enable: False changes nothing.

    Raises:
        ValueError: the config has no ``auto_scale_lr.base_batch_size``.
    """
    if not enable:
        return
    if not (cfg.get('auto_scale_lr') or {}).get('base_batch_size'):
        raise ValueError('--auto-scale-lr: the config has no auto_scale_lr.base_batch_size, the batch its rate is for')
    cfg.auto_scale_lr.enable = True


def set_seed(cfg: Config, seed: int | None) -> None:
    """Set the seed: from the command line, else from the config, else 0. A run without a seed cannot be repeated.

    Args:
        cfg: Changed in place.
        seed: The command line's seed, if any.
    """
    if seed is not None or cfg.get('randomness', {}).get('seed') is None:
        cfg.merge_from_dict({'randomness.seed': seed or 0})


def adapt_to_hardware(cfg: Config) -> list[str]:
    """Replace settings that need CUDA on a machine without it.

    A model may also be built without this function: SyncBN needs CUDA only while several processes train, and computes
    the same as BN otherwise.

    Args:
        cfg: Changed in place.

    Returns:
        The replacements, in words.
    """
    if torch.cuda.is_available():
        return []
    notes = []
    cfg.merge_from_dict({'env_cfg.dist_cfg.backend': 'gloo'})
    if cfg.get('launcher', 'none') != 'none':
        notes.append('gloo between the processes')
        if cfg.get('runner_type', 'Runner') == 'Runner' and not cfg.get('model_wrapper_cfg'):
            # MMEngine's default wrapper is given the CUDA device of each process.
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
    """Build the Runner of a config, after the checks of its data.

    Args:
        cfg: A config from ``load_config`` with its work folder set. Changed in place.
        dataloaders: Names of the loaders in use, such as ('train_dataloader', 'val_dataloader').
        trust_checkpoint: Load checkpoint files that hold more than data. Only the user may choose this.

    Raises:
        FileNotFoundError: data are missing.
        ValueError: data do not fit the model.
    """
    use_safe_loader(trust=trust_checkpoint)
    notes = adapt_to_hardware(cfg)
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope')):
        check_data(cfg, dataloaders)
    set_seed(cfg, None)
    added = [dict(type=name) for name in ('StrictLoad', 'PlainSchedulers', 'SeedEachIteration', 'StopOnBadLoss')]
    cfg.custom_hooks = [*copy.deepcopy(cfg.get('custom_hooks') or []), *added]
    if cfg.get('launcher') == 'pytorch' and not torch.cuda.is_available() and not dist.is_initialized():
        dist.init_process_group('gloo')  # MMEngine's own initialisation asks for a CUDA device
    runner = RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
    if notes:
        runner.logger.info(f'no CUDA device here: {", ".join(notes)}')
    return runner
