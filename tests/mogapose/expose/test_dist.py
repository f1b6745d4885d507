"""Two processes measure the same as one, also if one of them has a padding sample."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from mmengine.registry import MODELS

from helpers.tool_runs import ROOT, call
from moganet.run.config import load_config
from mogapose.expose import mini

ENVIRONMENT = dict(os.environ, PYTHON=sys.executable, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1')
# Three hands on two processes with two each: the second process ends with the first hand again.
SCRIPT = """
import json, sys
import torch
from mogapose.expose.evaluation.metrics import HandMeshMetric

folder, rank = sys.argv[1], int(sys.argv[2])
torch.distributed.init_process_group('gloo', init_method=f'file://{folder}/rendezvous', rank=rank, world_size=2)
samples = torch.load(f'{folder}/samples.pth', weights_only=True)
metric = HandMeshMetric()
for i in (rank, (rank + 2) % 3):
    metric.process({}, [samples[i]])
with open(f'{folder}/{rank}.json', 'w') as file:
    json.dump(metric.evaluate(3), file)
torch.distributed.barrier()  # a process that ends earlier can take the other one's connection with it
torch.distributed.destroy_process_group()
"""


def test_two_processes_gather_the_numbers_of_each_hand_once(tmp_path):
    from mogapose.expose.evaluation.metrics import HandMeshMetric

    torch.manual_seed(0)
    samples = []
    for scale in (0, 0.002, 0.01):  # metres by which the prediction is off
        truth = dict(gt_joints=0.08 * torch.randn(21, 3), gt_vertices=0.05 * torch.randn(778, 3))
        pairs = [(name.replace('gt', 'pred'), value) for name, value in truth.items()]
        samples.append(truth | {name: value + scale * torch.randn_like(value) for name, value in pairs})
    torch.save(samples, tmp_path / 'samples.pth')
    command = [sys.executable, '-c', SCRIPT, str(tmp_path)]
    processes = [subprocess.Popen([*command, str(rank)], env=ENVIRONMENT) for rank in (0, 1)]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    found = [json.loads((tmp_path / f'{rank}.json').read_text()) for rank in (0, 1)]
    means = np.mean([HandMeshMetric().measure(sample) for sample in samples], 0)
    assert found[0] == found[1]
    assert found[0] == pytest.approx(
        {f'hand/{name}': mean for name, mean in zip(HandMeshMetric.NAMES, means, strict=True)}
    )


@pytest.mark.slow
@pytest.mark.parametrize('part', ['hand', 'face'])
def test_two_processes_test_as_one(part, tiny_expose, mini_expose, tmp_path):
    cfg = load_config(tiny_expose(part))
    mini.use(cfg, str(mini_expose))
    cfg.test_dataloader.update(batch_size=2)
    cfg.test_dataloader.dataset.indices = 3
    model = MODELS.build(cfg.model)
    torch.nn.init.normal_(model.head.regressor.module.output_layer.weight, 0, 0.02)
    checkpoint, config = tmp_path / 'w.pth', tmp_path / 'two.py'
    torch.save(dict(state_dict=model.state_dict()), checkpoint)
    cfg.dump(config)
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
    ]
    subprocess.run(list(map(str, command)), cwd=ROOT, env=ENVIRONMENT, check=True, capture_output=True)
    one, two = (json.loads((tmp_path / name).read_text()) for name in ('one.json', 'two.json'))
    assert one
    assert two == pytest.approx(one, rel=1e-6)
