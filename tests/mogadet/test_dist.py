"""Two processes train as one with twice the batch, and a killed run resumes, through tools/dist_train.sh."""

import json
import os
import signal
import subprocess
import sys

import pytest
import torch

from helpers.tool_runs import ROOT, call, weights

# A loss that is a mean over samples is the mean of the two processes' losses only if both have as many samples. So
# each image gives 256 anchors, and 16 regions of which 4 are positive (each has at least 4 digits); nothing
# is random but the order of the images; all images are 96x96, so that none is padded differently; norms do not train.
CONFIG = """
_base_ = '{root}/configs/det/mask_rcnn_moganet_xt_mini.py'
custom_imports = dict(imports=['mogadet', 'helpers.fixed_sampling'])
tiny_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='Resize', scale=(96, 96), keep_ratio=False),
    dict(type='PackDetInputs'),
]
roi = dict(out_channels=16)
model = dict(
    backbone=dict(arch=dict(_delete_=True, embed_dims=(8, 16, 24, 32), depths=(1, 1, 1, 1), ffn_ratios=(2, 2, 2, 2)),
                  drop_path_rate=0.0, norm_eval=True),
    neck=dict(in_channels=[8, 16, 24, 32], out_channels=16),
    rpn_head=dict(in_channels=16, feat_channels=16),
    roi_head=dict(bbox_roi_extractor=roi, mask_roi_extractor=roi, bbox_head=dict(in_channels=16, fc_out_channels=32),
                  mask_head=dict(in_channels=16, conv_out_channels=16, num_convs=1)),
    train_cfg=dict(rpn=dict(sampler=dict(type='FirstSampler')),
                   rcnn=dict(sampler=dict(type='FirstSampler', num=16))))
train_dataloader = dict(batch_size=4, batch_sampler=None, dataset=dict(
    data_root='{data}', indices=8, pipeline=tiny_pipeline))
val_cfg = val_dataloader = val_evaluator = None
optim_wrapper = dict(_delete_=True, type='OptimWrapper', optimizer=dict(type='SGD', lr=0.02, momentum=0.9))
param_scheduler = []
train_cfg = dict(max_epochs=4)
custom_hooks = [dict(type='RecordLosses')]
default_hooks = dict(checkpoint=dict(max_keep_ckpts=-1, save_best=None), logger=dict(interval=1))
"""


def command(config, work_dir, *options):
    return [
        'bash',
        str(ROOT / 'tools/dist_train.sh'),
        str(config),
        '2',
        '--work-dir',
        str(work_dir),
        *options,
        '--cfg-options',
        'train_dataloader.batch_size=2',
    ]


ENVIRONMENT = dict(
    os.environ, PYTHON=sys.executable, PYTHONPATH=os.pathsep.join((str(ROOT), str(ROOT / 'tests'))), OMP_NUM_THREADS='1'
)


def losses(work_dir, rank):
    """Return the records of a process by iteration: the last one if the iteration was repeated after a kill."""
    records = [json.loads(line) for line in (work_dir / f'losses_{rank}.jsonl').read_text().splitlines()]
    return {record['iter']: record for record in records}


def kill_at_second_checkpoint(config, work_dir):
    """Start two processes, kill one when the first checkpoint is whole, and return the exit code of the launcher."""
    launcher = subprocess.Popen(
        command(config, work_dir), env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    output = []
    for line in launcher.stdout:
        output.append(line)
        if 'Saving checkpoint at 2 epochs' in line:
            os.kill(losses(work_dir, 1)[0]['pid'], signal.SIGKILL)
            break
    output.append(launcher.communicate(timeout=300)[0])
    assert 'Saving checkpoint at 2 epochs' in ''.join(output), ''.join(output)[-4000:]
    return launcher.returncode


@pytest.fixture(scope='module')
def runs(mini_det, tmp_path_factory):
    """Return the folders of two runs: one process with batch 4; two processes with batch 2, killed and resumed."""
    folder = tmp_path_factory.mktemp('dist')
    config = folder / 'tiny.py'
    config.write_text(CONFIG.format(root=ROOT, data=mini_det))
    one, two = folder / 'one', folder / 'two'
    call('train', config, '--work-dir', one)
    assert kill_at_second_checkpoint(config, two) != 0
    assert (two / 'epoch_1.pth').exists()
    assert not (two / 'epoch_4.pth').exists()
    resumed = subprocess.run(command(config, two, '--resume'), env=ENVIRONMENT, capture_output=True, text=True)
    assert resumed.returncode == 0, resumed.stderr[-4000:]
    return one, two


def test_two_processes_have_the_loss_of_one_with_twice_the_batch(runs):
    one, two = runs
    alone, first, second = losses(one, 0), losses(two, 0), losses(two, 1)
    assert sorted(alone) == sorted(first) == sorted(second) == list(range(8))
    for i in range(6):  # later, accumulated rounding selects another box
        for name in ('loss', 'loss_rpn_cls', 'loss_rpn_bbox', 'loss_cls', 'loss_bbox', 'loss_mask'):
            mean = (first[i][name] + second[i][name]) / 2
            assert mean == pytest.approx(alone[i][name], abs=1e-5), (i, name)
    # Each process read other images, and both trained.
    assert all(abs(first[i]['loss'] - second[i]['loss']) > 1e-3 for i in range(8))
    assert alone[7]['loss'] < 0.9 * alone[0]['loss']


def test_a_killed_run_ends_where_one_ends_that_nobody_killed(runs):
    one, two = runs
    expected, found = weights(one / 'epoch_4.pth'), weights(two / 'epoch_4.pth')
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        assert torch.allclose(found[name].float(), value.float(), rtol=1e-4, atol=1e-5), name
    pids = [{json.loads(line)['pid'] for line in (two / f'losses_{rank}.jsonl').open()} for rank in (0, 1)]
    assert [len(found) for found in pids] == [2, 2]  # one process before the kill, one after
