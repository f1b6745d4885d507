"""Command line of tools/convert_checkpoint.py."""

import runpy
from pathlib import Path

import pytest
import torch
from mmengine.runner import CheckpointLoader

from helpers import checkpoint_files
from helpers.checkpoint_files import Classifier
from moganet.checkpoint import gate_of, load_backbone, load_model, read_checkpoint, safe
from moganet.errors import run_main

TOOL = Path(__file__).parents[3] / 'tools' / 'convert_checkpoint.py'


@pytest.fixture
def convert(monkeypatch, capsys):
    """Call the tool with its arguments; return the exit code and the output."""
    monkeypatch.setattr(CheckpointLoader, '_schemes', CheckpointLoader._schemes.copy())
    monkeypatch.setattr(safe, 'trusting', False)
    main = runpy.run_path(str(TOOL))['main']

    def call(*arguments):
        code = run_main(main, [str(argument) for argument in arguments])
        said = capsys.readouterr()
        return code, said.out + said.err

    return call


def test_convert_there_and_back_with_gate(convert, tmp_path):
    state = checkpoint_files.mmpretrain()
    source = tmp_path / 'moga_base_ema_sz224_8xb128_ep300.pth'
    torch.save({'state_dict': state | {'ema_head_fc_bias': torch.rand(5)}, 'meta': {'epoch': 300}}, source)
    there, back = tmp_path / 'there.pth', tmp_path / 'back.pth'
    code, said = convert(source, there, '--to', 'official')
    assert (code, said.strip().endswith('there.pth: 237 tensors, official layout, gate double')) == (0, True), said
    assert 'head.weight' in read_checkpoint(there)['state_dict']
    with pytest.raises(ValueError, match="gate='double'"):
        load_backbone(checkpoint_files.backbone(), there)
    assert convert(there, back, '--to', 'mmpretrain')[0] == 0
    assert gate_of(read_checkpoint(back)) == 'double'
    model = Classifier(gate='double')
    load_model(model, back)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_convert_keeps_what_is_there_unless_forced(convert, tmp_path):
    source, target = tmp_path / 'w.pth', tmp_path / 'out.pth'
    raw, averaged = checkpoint_files.official(), checkpoint_files.official()
    torch.save({'state_dict': raw, 'state_dict_ema': averaged}, source)
    target.write_text('mine')
    code, said = convert(source, target, '--to', 'mmpretrain')
    assert code == 1
    assert 'out.pth exists: --force overwrites it' in said
    assert target.read_text() == 'mine'
    for option, expected in (((), averaged), (('--no-ema',), raw)):
        assert convert(source, target, '--to', 'mmpretrain', '--force', *option)[0] == 0
        assert torch.equal(read_checkpoint(target)['state_dict']['head.fc.bias'], expected['head.bias'])


def test_convert_says_what_is_wrong_with_a_file(convert, tmp_path):
    source, marker = tmp_path / 'w.pth', tmp_path / 'ran'
    target = tmp_path / 'out.pth'
    torch.save({'state_dict': checkpoint_files.official(), 'x': checkpoint_files.command(marker)}, source)
    code, said = convert(source, target, '--to', 'official')
    assert code == 1
    assert 'error: ' in said
    assert 'holds more than data' in said
    assert 'Traceback' not in said
    assert not marker.exists()
    assert not target.exists()
    assert convert(source, target, '--to', 'official', '--trust-checkpoint')[0] == 0
    assert marker.exists()
    torch.save({'state_dict': {'conv1.weight': torch.rand(1)}}, source)
    assert 'w.pth: no MogaNet inside' in convert(source, target, '--to', 'official', '--force')[1]
