"""The demo of ExPose, which trains on rendered hands and then on rendered faces, and draws the predictions."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement

from moganet.io.images import write_image
from moganet.mini.demo import next_commands, train
from moganet.run.config import load_config

from . import mini
from .data.datasets import FIELDS
from .draw import draw_body
from .models.rotation import axis_angle_to_matrix

CONFIG = 'configs/expose/hand_moganet_xt_mini.py'
FACE_CONFIG = 'configs/expose/face_moganet_xt_mini.py'
# The main metric of each convention.
METRICS = dict(mano='hand/PA-MPJPE', flame='face/3DRMSE')
NUM_SHOWN = 6


def run(cfg: Config) -> dict[str, float]:
    """Write the mini data, train the hands and then the faces, draw predictions, and print a summary.

    Args:
        cfg: The config of the hands. ``FACE_CONFIG`` is the config of the faces.

    Returns:
        The metrics of both.
    """
    root = cfg.train_dataloader.dataset.data_root
    print(mini.make(root), flush=True)
    metrics = learn(cfg, root, CONFIG)
    face = load_config(FACE_CONFIG)
    face.work_dir = str(Path(cfg.work_dir) / 'face')
    return metrics | learn(face, root, FACE_CONFIG)


def learn(cfg: Config, root: str, config: str) -> dict[str, float]:
    """Train a config on the mini data, draw predictions, and print a summary.

    Args:
        cfg: The config, which is changed in place.
        root: Folder of the mini data.
        config: Path of the config's file, for the output.

    Returns:
        The metrics.
    """
    mini.use(cfg, root)
    metric = METRICS[cfg.val_dataloader.dataset.convention]
    print(f'\n{config}', flush=True)
    runner, metrics = train(cfg, metric)
    before = baseline(runner)
    pictures, first = _draw(runner)
    grid = write_image(np.concatenate(pictures), Path(cfg.work_dir) / 'predictions.png')
    print(
        f'\non {len(runner.val_dataloader.dataset)} pictures that it never saw, in millimetres (F: share of the mesh):'
    )
    print(table(metrics, before))
    print(f'{metric} is {100 * (1 - metrics[metric] / before[metric]):.0f} % lower than that of the mean')
    print(f'crop, joints, mesh, mesh from the side: {grid}\n')
    print(next_commands(config, cfg.work_dir, first))
    return metrics


def table(metrics: dict[str, float], before: dict[str, float]) -> str:
    """Format metrics as a table with a column for each metric.

    Args:
        metrics: Metrics of the network.
        before: Metrics of the baseline, which always predicts the mean of the training labels.

    Returns:
        Three lines: names, network and baseline.
    """
    names = list(before)
    lines = [' ' * 10 + ''.join(f'{name.split("/")[-1]:>12}' for name in names)]
    for title, values in (('network', metrics), ('the mean', before)):
        lines.append(f'{title:10}' + ''.join(f'{values[name]:12.2f}' for name in names))
    return '\n'.join(lines)


@torch.no_grad()
def baseline(runner: Runner) -> dict[str, float]:
    """Return the metrics of a baseline that predicts the mean of the training labels for each validation image.

    Args:
        runner: A runner with data loaders, model and evaluator.
    """
    dataset, model = runner.train_dataloader.dataset, runner.model
    samples = [dataset.get_data_info(i) for i in range(len(dataset))]
    inputs = {}
    for name in FIELDS[dataset.convention]:
        mean = torch.from_numpy(np.mean([sample[name] for sample in samples], 0)).float()[None]
        inputs[name] = mean if name in ('betas', 'expression') else axis_angle_to_matrix(mean)
    # Orientations have no useful mean, and the main metrics do not depend on them.
    inputs['global_orient'] = torch.eye(3)[None, None]
    device = next(model.parameters()).device
    body = model.body_model(**{name: value.to(device) for name, value in inputs.items()})
    answer = dict(pred_vertices=body['vertices'][0], pred_joints=body['joints'][0], pred_faces=model.body_model.faces)
    evaluator = runner.val_evaluator
    for batch in runner.val_dataloader:
        samples = model.data_preprocessor(batch)['data_samples']
        for sample in samples:
            sample.set_data(answer)
        evaluator.process(data_samples=samples, data_batch=batch)
    return evaluator.evaluate(len(runner.val_dataloader.dataset))


@torch.no_grad()
def _draw(runner: Runner) -> tuple[list[np.ndarray], str]:
    """Return pictures of the predictions for the first validation images, and the path of the first image."""
    runner.model.eval()
    faces = runner.model.body_model.faces.cpu().numpy()
    pictures, paths = [], []
    for crop, sample in _predictions(runner):
        vertices, joints, camera = (sample.get(f'pred_{name}').cpu().numpy() for name in ('vertices', 'joints', 'cam'))
        pictures.append(draw_body(crop, vertices, joints, camera, faces, runner.model.convention))
        paths.append(sample.img_path)
        if len(paths) == NUM_SHOWN:
            break
    return pictures, paths[0]


def _predictions(runner: Runner) -> Iterable[tuple[np.ndarray, BaseDataElement]]:
    """Yield crops (R, R, 3), RGB, with their predictions."""
    for batch in runner.val_dataloader:
        crops = [image.numpy()[::-1].transpose(1, 2, 0) for image in batch['inputs']]
        yield from zip(map(np.ascontiguousarray, crops), runner.model.test_step(batch), strict=True)
