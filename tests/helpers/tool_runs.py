"""A training run of seconds for tests of the tools: the mini recipe with a network of a few thousand parameters."""

import runpy
from pathlib import Path

from moganet.checkpoint import read_checkpoint
from moganet.errors import run_main

ROOT = Path(__file__).parents[2]
TINY = """
_base_ = '{root}/configs/cls/moganet_xt_mini.py'
tiny_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(32, 32), backend='pillow'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomErasing', erase_prob=0.5, mode='rand'),
    dict(type='PackInputs', algorithm_keys=['num_classes']),
]
model = dict(
    backbone=dict(arch=dict(_delete_=True, embed_dims=(8, 16, 24, 32), depths=(1, 1, 1, 1), ffn_ratios=(2, 2, 2, 2)),
                  drop_path_rate=0.2),
    head=dict(in_channels=32))
# Random augmentation in a worker has states of its own: without one, runs repeat in every digit.
train_dataloader = dict(
    batch_size=8, num_workers=0, persistent_workers=False,
    dataset=dict(data_root='{data}', indices=24, pipeline=tiny_pipeline))
val_dataloader = dict(batch_size=8, dataset=dict(data_root='{data}', indices=16))
test_dataloader = val_dataloader
param_scheduler = [dict(type='OneCycleLR', eta_max=2e-3, total_steps=4, by_epoch=True, convert_to_iter_based=True)]
train_cfg = dict(max_epochs=4)
custom_hooks = [dict(type='EMAHook', momentum=0.1, update_buffers=True)]
default_hooks = dict(checkpoint=dict(max_keep_ckpts=-1, save_best=None))
"""


def write_tiny_config(folder: Path, data: Path, *lines: str) -> Path:
    """Write the config of a tiny run to a folder, overridden by lines as by those of a child; return its path."""
    (folder / 'tiny.py').write_text(TINY.format(root=ROOT, data=data))
    path = folder / f'tiny{len(list(folder.glob("tiny*.py"))) - 1}.py'
    path.write_text('\n'.join(["_base_ = 'tiny.py'", *lines]) + '\n')
    return path


def call(tool, *args):
    """Run the ``main`` of tools/<tool>.py in this process and return what it returns."""
    return runpy.run_path(str(ROOT / 'tools' / f'{tool}.py'))['main']([str(arg) for arg in args])


def weights(path) -> dict:
    """Every tensor of a checkpoint that must survive a resume: weights, averaged weights, the optimizer's moments."""
    checkpoint = read_checkpoint(path)
    moments = {
        f'optimizer.{i}.{key}': value
        for i, state in checkpoint['optimizer']['state'].items()
        for key, value in state.items()
    }
    return {**checkpoint['state_dict'], **checkpoint.get('ema_state_dict', {}), **moments}


def run_tool(tool, *args) -> int:
    """As on the command line: the exit code, errors in one line on standard error."""
    return run_main(runpy.run_path(str(ROOT / 'tools' / f'{tool}.py'))['main'], list(map(str, args)))


def one_row(task: str, root: Path, name: str) -> None:
    """A folder with the metafile of one row of a task, and its config."""
    source, folder = ROOT / 'configs' / task, root / 'configs' / task
    folder.mkdir(parents=True)
    head, *models = (source / 'metafile.yml').read_text().split('  - Name: ')
    (row,) = [model for model in models if model.startswith(f'{name}\n')]
    (folder / 'metafile.yml').write_text('  - Name: '.join([head, models[0], row]))
    (folder / f'{name}.py').write_text(f"_base_ = '{source}/{name}.py'\n")
