"""Two processes measure the same as one, through tools/dist_test.sh, also with an odd number of clips."""

import json
import os
import subprocess
import sys

import pytest
import torch
from mmengine.registry import MODELS

from helpers.tool_runs import ROOT, call


@pytest.mark.slow
def test_two_processes_measure_as_one(tiny_cfg, tmp_path):
    checkpoint, config = tmp_path / 'w.pth', tmp_path / 'tiny.py'
    torch.save(dict(state_dict=MODELS.build(tiny_cfg.model).state_dict()), checkpoint)
    tiny_cfg.test_dataloader.update(batch_size=2)
    tiny_cfg.test_dataloader.dataset.indices = 5
    tiny_cfg.dump(config)
    call('test', config, checkpoint, '--out', tmp_path / 'one.json', '--work-dir', tmp_path / 'one')
    command = [
        'bash',
        ROOT / 'tools/dist_test.sh',
        config,
        checkpoint,
        '2',
        '--out',
        tmp_path / 'two.json',
        '--work-dir',
        tmp_path / 'two',
        '--show-dir',
        tmp_path / 'shown',
    ]
    environment = dict(os.environ, PYTHON=sys.executable, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1')
    subprocess.run(list(map(str, command)), cwd=ROOT, env=environment, check=True, capture_output=True)
    one, two = (json.loads((tmp_path / name).read_text()) for name in ('one.json', 'two.json'))
    assert one.keys() == two.keys()
    assert len(one) == 10
    assert [name for name in one if two[name] != pytest.approx(one[name], rel=1e-6)] == []
    # The sixth place repeats the first clip, so both processes have three; the metrics do not count the repetition.
    assert len(list((tmp_path / 'shown').glob('clip_*.png'))) == 1
    assert (tmp_path / 'shown/curves.png').is_file()
