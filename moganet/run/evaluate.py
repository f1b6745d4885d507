"""Evaluation of a checkpoint: test-time augmentation, pictures, metrics and predictions as files."""

import json
import os
from pathlib import Path

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from ..checkpoint import load_model
from ..fusion import fuse
from ..io.files import atomic
from .tasks import find_task, task_of

# Hooks that change the weights while training. A checkpoint's weights already are what such a hook made of them.
TRAINING_HOOKS = ('EMAHook', 'PreciseBNHook')


def prepare(cfg: Config, tta: bool = False, out: str | None = None, show_dir: str | None = None) -> None:
    """Make ``cfg`` one that is tested, in place.

    Args:
        cfg: Any config.
        tta: Replace model and pipeline by ``tta_model`` and ``tta_pipeline`` of the config, else by the task's own.
        out: Predictions go into this file if its name ends in .pkl.
        show_dir: Pictures of predictions go into this folder.

    Raises:
        ValueError: the config cannot do what is asked, or ``out`` has another ending.
    """
    cfg.load_from, cfg.resume = None, False
    cfg.custom_hooks = [hook for hook in cfg.get('custom_hooks') or [] if hook['type'] not in TRAINING_HOOKS]
    if tta:
        if not cfg.get('tta_model') or not cfg.get('tta_pipeline'):
            task = find_task(task_of(cfg))
            if task.tta is None:
                raise ValueError(f'--tta: {cfg.filename} has no tta_model and tta_pipeline, and {task.name} no default')
            task.tta.set_default(cfg)
        cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline
        cfg.model = dict(cfg.tta_model, module=cfg.model)
    if out:
        suffix = Path(out).suffix
        if suffix not in ('.json', '.pkl'):
            raise ValueError(f'--out {out}: expected a name ending in .json (metrics) or .pkl (predictions)')
        Path(out).parent.mkdir(parents=True, exist_ok=True)
        if suffix == '.pkl':
            metrics = cfg.test_evaluator if isinstance(cfg.test_evaluator, list) else [cfg.test_evaluator]
            cfg.test_evaluator = [*metrics, dict(type='DumpResults', out_file_path=out)]
    if show_dir:
        _draw(cfg, show_dir)


def _draw(cfg: Config, show_dir: str) -> None:
    """Turn the config's visualization hook on; each MM package spells its options in its own way."""
    hook = (cfg.get('default_hooks') or {}).get('visualization')
    if not hook:
        raise ValueError('--show-dir: the config has no default_hooks.visualization')
    if hook['type'] == 'DetVisualizationHook':
        hook['draw'] = True
        hook['test_out_dir'] = os.path.abspath(show_dir)
    elif hook['type'] == 'SegVisualizationHook':
        hook['draw'] = True
        # The hook has no folder of its own. A visualizer that a training made in this process would keep its folder.
        folder = os.path.abspath(show_dir)
        cfg.merge_from_dict({'visualizer.save_dir': folder, 'visualizer.name': folder})
    else:
        hook['enable'] = True
        hook['out_dir'] = os.path.abspath(show_dir)
    hook.setdefault('interval', 1)


def test(runner: Runner, checkpoint: str, out: str | None = None, fused: bool = False) -> dict:
    """Load ``checkpoint`` strictly, test, and return the metrics; write them to ``out`` if that ends in .json.

    Args:
        runner: Of a config that ``prepare`` has changed.
        checkpoint: A file, an address or moganet://NAME.
        out: Where the metrics go.
        fused: Test with the backbone folded, see ``moganet.fuse``.

    Raises:
        ValueError, FileNotFoundError: the checkpoint cannot be loaded whole; there is nothing to fold.
    """
    wrapper = None
    model = runner.model
    if is_model_wrapper(model):
        wrapper, model = model, model.module
    if runner.cfg.get('tta_model') and runner.cfg.model['type'] == runner.cfg.tta_model['type']:
        wrapper, model = model, model.module
    load_model(model, checkpoint)
    if fused and wrapper:
        wrapper.module = fuse(model)
    elif fused:
        runner.model = fuse(model)
    metrics = runner.test()
    if out and out.endswith('.json') and is_main_process():
        with atomic(out) as partial:
            partial.write_text(json.dumps(metrics, indent=2, default=float) + '\n')
    return metrics
