"""SimVP as a model of MMEngine: its modes, roll-out, sizes, precisions, memory saving and training."""

import functools
import os
import subprocess
import sys

import pytest
import torch
from mmengine.registry import MODELS

from helpers.cases import for_each
from helpers.official import image, relative_error
from helpers.released_simvp import SMALL, TRANSLATORS, clip, small_model
from helpers.tool_runs import ROOT
from mogavideo import FramePreprocessor, SimVP

FIXED_SIZE = ('mlpmixer', 'swin')


@functools.cache
def moganet():
    return small_model('moganet')


def test_loss_is_the_mean_squared_error_of_the_prediction():
    model, inputs, targets = moganet(), clip(), image((2, 10, 1, 32, 32), seed=2).sigmoid()
    prediction = model(inputs, targets)
    assert torch.equal(prediction, model(inputs, mode='tensor'))
    losses = model(inputs, targets, mode='loss')
    assert list(losses) == ['loss']
    torch.testing.assert_close(losses['loss'], (prediction - targets).square().sum() / targets.numel())


def test_predict_gives_a_dict_per_clip():
    model, inputs, targets = moganet(), clip(), clip()[:, :4]
    found = model(inputs, targets, mode='predict')
    assert [sorted(one) for one in found] == [['inputs', 'prediction', 'target']] * 2
    for i, one in enumerate(found):
        assert torch.equal(one['prediction'], model(inputs)[i, :4])
        assert torch.equal(one['target'], targets[i])
        assert torch.equal(one['inputs'], inputs[i])
    assert [sorted(one) for one in model(inputs, mode='predict')] == [['inputs', 'prediction']] * 2


@pytest.mark.parametrize('frames', [1, 10, 25])
def test_any_number_of_frames_comes_from_passes_over_own_predictions(frames):
    model, inputs = moganet(), clip()
    with torch.no_grad():
        passes = [model(inputs)]
        for _ in range(2):
            passes.append(model(passes[-1]))
        expected = torch.cat(passes, 1)[:, :frames]
        torch.testing.assert_close(model(inputs, torch.zeros(2, frames, 1, 32, 32)), expected)
        model.out_frames, before = frames, model.out_frames
        torch.testing.assert_close(model(inputs), expected)
        model.out_frames = before


def test_out_frames_is_the_number_without_targets():
    model = SimVP((4, 1, 32, 32), hid_S=4, hid_T=16, N_T=2, out_frames=6).eval()
    assert model(torch.rand(1, 4, 1, 32, 32)).shape == (1, 6, 1, 32, 32)


@for_each(TRANSLATORS)
def test_colour_clips_of_other_frames_and_size(translator):
    model = SimVP((4, 3, 32, 64), translator, hid_S=8, hid_T=32, N_T=3, out_frames=4).eval()
    x = torch.rand(2, 4, 3, 32, 64)
    with torch.no_grad():
        both = model(x)
        assert both.shape == x.shape
        # Clips are independent of each other, frames of a clip are not.
        torch.testing.assert_close(model(x[1:]), both[1:])
        other = x.clone()
        other[0, 0] = 1 - other[0, 0]
        assert (model(other)[0, -1] - both[0, -1]).abs().max() > 0


@for_each([name for name in TRANSLATORS if name not in FIXED_SIZE])
def test_size_may_change_from_call_to_call(translator):
    model = small_model(translator)
    with torch.no_grad():
        assert model(torch.rand(1, 10, 1, 20, 36)).shape == (1, 10, 1, 20, 36)


@pytest.mark.parametrize('N_S', [2, 6])
def test_depth_of_the_encoder_sets_the_stride(N_S):
    model = SimVP((4, 1, 64, 64), 'convnext', hid_S=4, hid_T=16, N_S=N_S, N_T=2, out_frames=4).eval()
    side = {2: 32, 6: 8}[N_S]
    assert model.enc(torch.rand(4, 1, 64, 64))[0].shape == (4, 4, side, side)
    assert model(torch.rand(1, 4, 1, 64, 64)).shape == (1, 4, 1, 64, 64)


@for_each(
    [
        ('moganet', (1, 9, 1, 32, 32), r'inputs are \(1, 9, 1, 32, 32\): expected \(clips, 10 frames, 1 channels'),
        ('moganet', (1, 10, 3, 32, 32), 'expected .*10 frames, 1 channels'),
        ('moganet', (10, 1, 32, 32), 'expected .*10 frames'),
        ('moganet', (1, 10, 1, 32, 30), 'inputs has frames of 32x30: expected multiples of 4'),
        ('mlpmixer', (1, 10, 1, 32, 64), 'mlpmixer has weights for maps of 8x8 only, got 8x16'),
        ('mlpmixer', (1, 10, 1, 16, 64), 'mlpmixer has weights for maps of 8x8 only, got 4x16'),
        ('swin', (1, 10, 1, 24, 32), 'swin has windows of 4x4, which do not divide maps of 6x8'),
    ]
)
def test_clips_that_cannot_be_read_are_refused_in_one_line(translator, shape, message):
    with pytest.raises(ValueError, match=message) as error:
        small_model(translator)(torch.rand(shape))
    assert '\n' not in str(error.value)


@for_each(
    [
        (dict(in_shape=(10, 64, 64)), r'in_shape=\(10, 64, 64\): expected \(frames, channels, height, width\)'),
        (dict(in_shape=(10, 1, 62, 64)), 'in_shape has frames of 62x64: expected multiples of 4'),
        (dict(hid_S=15), 'hid_S=15: expected an even number'),
        (dict(N_S=3), 'N_S=3: expected an even number'),
        (dict(out_frames=0), 'out_frames=0: expected 1 or more'),
    ]
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        SimVP(**options)


def test_modes_that_cannot_be():
    with pytest.raises(ValueError, match="mode='train': expected tensor, loss or predict"):
        moganet()(clip(), mode='train')
    with pytest.raises(ValueError, match='the loss needs targets'):
        moganet()(clip(), mode='loss')


@for_each(TRANSLATORS)
def test_channels_last_gives_the_same(translator):
    model = small_model(translator)
    with torch.no_grad():
        expected = model(clip())
        assert relative_error(model.to(memory_format=torch.channels_last)(clip()), expected) < 1e-5


@for_each(TRANSLATORS)
def test_bfloat16_autocast_stays_near_float32(translator):
    model = small_model(translator)
    with torch.no_grad():
        exact = model(clip())
        with torch.autocast('cpu', dtype=torch.bfloat16):
            rounded = model(clip(), clip(), mode='predict')
            loss = model(clip(), clip(), mode='loss')['loss']
    rounded = torch.stack([one['prediction'] for one in rounded])
    assert rounded.dtype == loss.dtype == torch.float32
    assert 0 < relative_error(rounded, exact) < 5e-2


def test_double_precision_agrees_with_float32():
    model = small_model('moganet')
    with torch.no_grad():
        single = model(clip())
        assert relative_error(single, model.double()(clip().double())) < 1e-5


@for_each(TRANSLATORS)
def test_recomputation_changes_neither_values_nor_gradients_nor_statistics(translator):
    states, gradients, losses = [], [], []
    for with_cp in (False, True):
        model = small_model(translator, with_cp=with_cp).train()
        torch.manual_seed(0)
        loss = model(clip(), clip(), mode='loss')['loss']
        loss.backward()
        losses.append(loss)
        gradients.append([parameter.grad for parameter in model.parameters()])
        states.append({k: v for k, v in model.state_dict().items() if 'running' in k or 'num_batches' in k})
    assert torch.equal(*losses)
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b)
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert all(states[1][name] == 1 for name in states[1] if 'num_batches' in name)


def test_recomputation_keeps_fewer_maps():
    kept = []
    for with_cp in (False, True):
        sizes = []
        translator = small_model('moganet', with_cp=with_cp).train().hid
        x = image((2, 160, 8, 8)).requires_grad_()
        with torch.autograd.graph.saved_tensors_hooks(lambda x: sizes.append(x.numel()) or x, lambda x: x):  # noqa: B023
            translator(x)
        kept.append(sum(sizes))
    # The input of each of four blocks: the first's has 160 channels, the others' 64.
    assert kept[1] == 2 * 8 * 8 * (160 + 3 * 64) < 0.05 * kept[0]


@for_each(TRANSLATORS)
def test_every_parameter_gets_a_gradient(translator):
    model = small_model(translator).train()
    model(clip(), clip(), mode='loss')['loss'].backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


def test_config_builds_model_and_preprocessor():
    model = MODELS.build(dict(type='SimVP', data_preprocessor=dict(type='FramePreprocessor'), **SMALL)).eval()
    frames = torch.randint(0, 256, (2, 20, 1, 32, 32), dtype=torch.uint8)
    found = model.val_step(dict(inputs=frames[:, :10], targets=frames[:, 10:]))
    assert torch.equal(found[1]['target'], frames[1, 10:] / 255)
    assert torch.equal(found[1]['inputs'], frames[1, :10] / 255)


def test_preprocessor_keeps_floats_and_refuses_other_numbers():
    preprocessor = FramePreprocessor()
    batch = preprocessor(dict(inputs=torch.tensor([0, 255], dtype=torch.uint8), targets=torch.tensor([0.3])))
    assert batch['inputs'].tolist() == [0, 1]
    assert batch['inputs'].dtype == torch.float32
    assert torch.equal(batch['targets'], torch.tensor([0.3]))
    with pytest.raises(ValueError, match=r'inputs is of torch.int64: expected uint8'):
        preprocessor(dict(inputs=torch.zeros(2, dtype=torch.int64)))


@pytest.mark.slow
@pytest.mark.parametrize('translator', TRANSLATORS)
def test_export_gives_the_same(translator):
    model = small_model(translator)
    with torch.no_grad():
        exported = torch.export.export(model, (clip(),)).module()
        assert relative_error(exported(clip()), model(clip())) < 1e-6


@pytest.mark.slow
def test_compiled_moganet_is_one_graph_and_gives_the_same():
    model = small_model('moganet')
    compiled = torch.compile(lambda x: model(x), fullgraph=True)
    with torch.no_grad():
        assert relative_error(compiled(clip()), model(clip())) < 1e-5


DDP = """
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from helpers.released_simvp import TRANSLATORS, clip, small_model

dist.init_process_group('gloo')
rank = dist.get_rank()
for translator in TRANSLATORS:
    model = DistributedDataParallel(small_model(translator).train())
    for _ in range(2):  # an unused parameter stops the second iteration
        model(clip()[rank : rank + 1], clip()[rank : rank + 1], mode='loss')['loss'].backward()
    total = torch.stack([parameter.grad.double().sum() for parameter in model.parameters()])
    both = [torch.zeros_like(total) for _ in range(2)]
    dist.all_gather(both, total)
    assert torch.equal(*both), translator
if rank == 0:
    print('trained', len(TRANSLATORS))
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_train_every_translator(tmp_path):
    (tmp_path / 'ddp.py').write_text(DDP)
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join((str(ROOT), str(ROOT / 'tests'))), OMP_NUM_THREADS='1')
    done = subprocess.run(
        [
            sys.executable,
            '-m',
            'torch.distributed.run',
            '--nproc_per_node=2',
            '--master_port=0',
            '--standalone',
            str(tmp_path / 'ddp.py'),
        ],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert 'trained 12' in done.stdout, done.stderr[-2000:]
