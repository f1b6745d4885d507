"""Evaluation of a checkpoint: test-time augmentation, pictures, and files of metrics or predictions."""

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

# Hooks that change weights while training. The weights of a checkpoint have been through them already.
TRAINING_HOOKS = ('EMAHook', 'PreciseBNHook')


def prepare(cfg: Config, tta: bool = False, out: str | None = None, show_dir: str | None = None) -> None:
    """Prepare a config for a test.

    Args:
        cfg: Any config. Changed in place.
        tta: Test with ``tta_model`` and ``tta_pipeline`` of the config, or with the task's default if it has none.
        out: Write the predictions into this file if its name ends in .pkl.
        show_dir: Draw the predictions into this folder.

    Raises:
        ValueError: test-time augmentation or pictures are not possible with the config, or ``out`` ends otherwise.
    """
    cfg.load_from, cfg.resume = None, False
    cfg.custom_hooks = [hook for hook in cfg.get('custom_hooks') or [] if hook['type'] not in TRAINING_HOOKS]
    if tta:
        if not cfg.get('tta_model') or not cfg.get('tta_pipeline'):
            task = find_task(task_of(cfg))
            if task.tta is None:
                raise ValueError(
                    f'--tta: {cfg.filename} has no tta_model and tta_pipeline, and task {task.name!r} has no default: '
                    'add both to the config'
                )
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
    """Enable the config's visualization hook, whose options differ between the MM packages."""
    hook = (cfg.get('default_hooks') or {}).get('visualization')
    if not hook:
        raise ValueError('--show-dir: the config has no default_hooks.visualization')
    if hook['type'] == 'DetVisualizationHook':
        hook['draw'] = True
        hook['test_out_dir'] = os.path.abspath(show_dir)
    elif hook['type'] == 'SegVisualizationHook':
        hook['draw'] = True
        # This hook has no option for a folder. The new name keeps it apart from a visualizer of a training before.
        folder = os.path.abspath(show_dir)
        cfg.merge_from_dict({'visualizer.save_dir': folder, 'visualizer.name': folder})
    else:
        hook['enable'] = True
        hook['out_dir'] = os.path.abspath(show_dir)
    hook.setdefault('interval', 1)


def run_test(runner: Runner, checkpoint: str, out: str | None = None, fused: bool = False) -> dict:
    """Load a checkpoint strictly and test it.

    Args:
        runner: Runner of a config that ``prepare`` has changed.
        checkpoint: A file, an http(s) address or moganet://NAME.
        out: Write the metrics into this file if its name ends in .json.
        fused: Test with the backbone folded by ``moganet.fuse``.

    Returns:
        The metrics.

    Raises:
        FileNotFoundError: the checkpoint does not exist.
        ValueError: the checkpoint does not fit, or the model has no MogaNet to fold.
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
