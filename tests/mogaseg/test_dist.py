"""Two processes train a segmentor with an auxiliary head, through tools/dist_train.sh."""

import os
import subprocess
import sys

import pytest
import torch

from helpers.tool_runs import ROOT
from moganet.checkpoint import read_checkpoint

TINY = """
_base_ = '{root}/configs/seg/upernet_moganet_xt.py'
model = dict(
    backbone=dict(arch=dict(_delete_=True, embed_dims=(8, 16, 24, 32), depths=(1, 1, 1, 1), ffn_ratios=(2, 2, 2, 2)),
                  drop_path_rate=0.0, init_cfg=None),
    decode_head=dict(in_channels=[8, 16, 24, 32], channels=16),
    auxiliary_head=dict(in_channels=24, channels=16))
"""


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason='tells of norms where there is no CUDA device')
def test_two_processes_train_every_parameter_without_cuda(tmp_path):
    config = tmp_path / 'tiny.py'
    config.write_text(TINY.format(root=ROOT))
    command = ['bash', ROOT / 'tools/dist_train.sh', config, '2', '--smoke', '--work-dir', tmp_path / 'run']
    env = dict(os.environ, PYTHON=sys.executable, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1')
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=env, cwd=tmp_path, timeout=600)
    # A parameter without a gradient stops the second iteration, a synchronised norm the first.
    assert done.returncode == 0, done.stderr[-4000:]
    log = next((tmp_path / 'run').glob('*/*.log')).read_text()
    assert 'no CUDA device here: gloo between the processes, BN for SyncBN' in log
    state = read_checkpoint(tmp_path / 'run/iter_2.pth')['optimizer']['state']
    assert {float(moments['step']) for moments in state.values()} == {2.0}
