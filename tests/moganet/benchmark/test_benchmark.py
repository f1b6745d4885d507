"""Counts, comparisons, reports and figures of the benchmark; times are made up."""

import functools
from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch
from mmengine.config import Config
from PIL import Image
from torch import nn

from moganet import MogaNet, ops
from moganet.benchmark import (
    baselines,
    compare,
    cpu,
    fresh_process,
    growth,
    memory,
    plot,
    roofline,
    training,
    workloads,
)


def test_a_training_step_trains_in_its_mode_and_frees_its_gradients(monkeypatch):
    model = nn.Conv2d(3, 4, 1)
    seen = []
    model.register_forward_hook(lambda *args: seen.append((ops.mode(), torch.is_autocast_enabled('cpu'))))
    before = model.weight.detach().clone()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    workloads.training_step(model, torch.randn(2, 3, 5, 5), 'reference', optimizer, torch.bfloat16)()
    # AdamW's first step moves each weight by its rate, and decays it by a hundredth of that.
    moved = (model.weight.detach() - before * (1 - 0.1 * 0.01)).abs()
    assert torch.allclose(moved, torch.full_like(moved, 0.1), rtol=1e-3)
    assert model.weight.grad is None
    assert seen == [('reference', True)]


def test_inference_keeps_no_gradients_and_returns_to_the_mode_before():
    seen = []
    model = nn.Identity()
    model.register_forward_hook(lambda *args: seen.append((ops.mode(), torch.is_inference_mode_enabled())))
    workloads.inference(model, torch.ones(1), 'reference')()
    assert seen == [('reference', True)]
    assert ops.mode() == 'auto'


def test_compiling_refuses_what_would_run_uncompiled():
    class Breaks(nn.Module):
        def forward(self, x):
            torch._dynamo.graph_break()
            return x + 1

    with pytest.raises(torch._dynamo.exc.Unsupported):
        workloads.compiled(Breaks())(torch.ones(2))


def test_compiling_hands_its_options_on(monkeypatch):
    seen = []
    monkeypatch.setattr(torch, 'compile', lambda model, **options: seen.append(options))
    workloads.compiled(nn.Identity())
    workloads.compiled(nn.Identity(), frozen=True)
    one_graph = dict(fullgraph=True, dynamic=False)
    assert seen == [dict(one_graph, options=None), dict(one_graph, options=dict(freezing=True))]


def test_operations_and_elements_are_counted_per_layer():
    # 6x6 to 3x3: 8 * 3 * 9 multiply-adds per pixel; then 8 to 5 channels.
    build = lambda: nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.GELU(), nn.Conv2d(8, 5, 1))  # noqa: E731
    inputs, middle, last = 2 * 3 * 36, 2 * 8 * 9, 2 * 5 * 9
    weights = 8 * 27 + 40
    work = roofline.count_work(build, (2, 3, 6, 6))
    assert work.operations == 2 * 2 * 9 * (8 * 27 + 40)
    assert work.elements == (inputs + middle) + (middle + last) + weights
    training = roofline.count_work(build, (2, 3, 6, 6), training=True)
    assert training.operations == 3 * work.operations
    assert training.elements == 3 * (inputs + middle) + 2 * (middle + last) + 3 * weights


@pytest.mark.parametrize(
    ('build', 'gmacs'),
    [
        (functools.partial(MogaNet, 'small'), 4.94),  # as fvcore counts, which adds norms
        (functools.partial(baselines.build, baselines.BASELINES[0]), 4.46),
        (functools.partial(baselines.build, baselines.BASELINES[2]), 4.09),
    ],
)
def test_multiply_adds_of_whole_networks_are_those_known(build, gmacs):
    assert roofline.count_work(build, (2, 3, 224, 224)).operations / 2 / 2 / 1e9 == pytest.approx(gmacs, rel=0.003)


def test_floors_are_shares_of_the_measured_time(monkeypatch):
    monkeypatch.setitem(roofline.MATMUL_SIDE, 'cpu', 100)
    monkeypatch.setitem(roofline.COPIED_BYTES, 'cpu', 5000)
    limits = roofline.roofline_from_times(dict(matmul=[4.0, 2.0, 2.0], copy=[10.0, 10.0, 20.0]), 'cpu')
    assert (limits.operations, limits.bytes) == (pytest.approx(1e9), pytest.approx(1e6))
    rate = roofline.rate_from_times('x', [9.0, 8.0, 8.0], 4, roofline.Work(2e6, 500), limits, torch.bfloat16)
    assert (rate.ms, rate.images_per_s) == (8.0, 500.0)
    assert (rate.operations_floor_ms, rate.bytes_floor_ms) == (pytest.approx(2.0), pytest.approx(1.0))
    assert '( 25 %)' in rate.line()
    assert '( 12 %)' in rate.line()


def test_bytes_saved_for_backward_are_counted_once_and_without_parameters():
    model = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 2))
    # The input of each linear layer, and of GELU: 3 rows of float32.
    assert memory.saved_for_backward(model, torch.randn(3, 4), 'auto') == 4 * 3 * (4 + 8 + 8)
    # The two layers save the same tensor.
    assert memory.saved_for_backward(Twice(), torch.randn(3, 4), 'auto') == 4 * 3 * 4


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 8), nn.Linear(4, 8)

    def forward(self, x):
        return self.a(x) + self.b(x)


def test_peaks_are_compared_with_the_reference_path_without_checkpointing(monkeypatch):
    peaks = {('reference', False): 100 << 20, ('auto', False): 60 << 20, ('auto', True): 40 << 20}
    seen = []

    def fresh_peak(mode, with_cp, **shared):
        seen.append(shared)
        return peaks[mode, with_cp]

    monkeypatch.setattr(memory, 'fresh_peak', fresh_peak)
    plain, checkpointed = memory.peaks('tiny', 64, 2)
    assert (plain.ours, plain.theirs, plain.ratio, plain.goal, plain.missed) == (60, 100, 0.6, 0.65, False)
    assert (checkpointed.ours, checkpointed.theirs, checkpointed.goal, checkpointed.missed) == (40, 100, 0.3, True)
    assert 'MiB' in plain.line()
    assert seen == 3 * [dict(arch='tiny', side=64, batch=2, device='cpu', autocast='')]


def test_the_peak_of_a_step_is_at_least_the_saved_bytes():
    arguments = dict(arch='xtiny', side=64, batch=16, mode='reference', with_cp=False, device='cpu')
    peak = memory.fresh_peak(**arguments)
    model = MogaNet('xtiny').train()
    saved = memory.saved_for_backward(model, torch.randn(16, 3, 64, 64), 'reference')
    weights = sum(4 * p.numel() for p in model.parameters())
    # Weights, two moments of AdamW, gradients, and maps.
    assert saved + 3 * weights < peak < 4 * (saved + 4 * weights)


def test_an_error_in_a_fresh_process_is_reported():
    with pytest.raises(RuntimeError, match="'huge' is no size of MogaNet"):
        fresh_process.in_fresh_process(
            memory.step_peak, arch='huge', side=32, batch=1, mode='auto', with_cp=False, device='cpu'
        )


def test_only_the_fastest_variant_has_goals_and_only_on_a_gpu(monkeypatch):
    times = {'eager': [30.0, 30.0], 'compiled': [20.0, 20.0], 'reference mode': [40.0, 40.0]}
    goals = {'reference mode': 1 / 1.8}
    works = dict.fromkeys(times, roofline.Work(1.0, 1.0))
    monkeypatch.setattr(compare, 'measure_roofline', lambda *args: roofline.Roofline(1e9, 1e9))
    for device, expected in (('cuda', [None, 1 / 1.8]), ('cpu', [None, None])):
        setting = compare.Setting(device, batch=8)
        found = compare.ratios_and_rates('step', times, ('eager', 'compiled'), goals, setting, works)
        assert [(r.name, r.baseline, r.ratio, r.goal) for r in found[:2]] == [
            ('step, eager', 'reference mode', 0.75, expected[0]),
            ('step, compiled', 'reference mode', 0.5, expected[1]),
        ]
        assert not any(r.missed for r in found)
        assert [(r.name, r.images_per_s) for r in found[2:]] == [
            ('step, eager', pytest.approx(800 / 3)),
            ('step, compiled', 400.0),
            ('step, reference mode', 200.0),
        ]


def test_the_goals_of_a_gpu_are_those_promised():
    speedups = {baseline: round(1 / goal, 6) for baseline, goal in compare.INFERENCE_GOALS.items()}
    assert speedups == {'reference mode': 3, 'reference mode, compiled': 1.3, 'ConvNeXt-T of timm, compiled': 1}
    assert {baseline: round(1 / goal, 6) for baseline, goal in compare.TRAINING_GOALS.items()} == {
        'reference mode': 1.8,
        'reference mode, compiled': 1.25,
    }
    assert memory.GOALS == (0.65, 0.30)


def test_a_cpu_runs_every_variant_of_small(monkeypatch):
    monkeypatch.setattr(cpu, 'compiled', lambda model, frozen: model)
    monkeypatch.setattr(cpu, 'has_cpu_bfloat16', lambda: True)
    monkeypatch.setitem(roofline.MATMUL_SIDE, 'cpu', 64)
    monkeypatch.setitem(roofline.COPIED_BYTES, 'cpu', 1 << 16)
    found = cpu.small_inference(side=32, batch=1, rounds=1)
    ratios, rates = found[:3], found[3:]
    assert [(r.name, round(1 / r.goal, 6)) for r in ratios] == [
        ('inference, small fused, 32x32 batch 1', 2.2),
        ('inference, small fused + torch.compile, 32x32 batch 1', 2.5),
        ('inference, small fused in bfloat16, 32x32 batch 1', 3.5),
    ]
    assert [r.name for r in rates] == [
        'MogaNet-S, reference mode',
        'MogaNet-S, fused',
        'MogaNet-S, fused + torch.compile',
        'ConvNeXt-T, timm',
        'Swin-T, timm',
        'ResNet-50, timm',
    ]


@pytest.mark.parametrize(('batch', 'speedup'), [(1, 1.9), (2, 1.9)])
def test_fused_sizes_have_goals_of_throughput_and_latency(batch, speedup):
    (found,) = cpu.fused_inference(('xtiny',), side=32, batch=batch, rounds=1)
    assert found.baseline == 'reference mode'
    assert 1 / found.goal == pytest.approx(speedup)
    assert found.name == f'inference, xtiny fused, 32x32 batch {batch}'


def test_growth_is_seen_beside_the_pixels():
    points = growth.with_ratios(
        [
            growth.Growth('s', 1, 100, ms=20.0, mib=10.0),
            growth.Growth('s', 2, 100, ms=20.0, mib=10.0),
            growth.Growth('s', 4, 100, ms=40.0, mib=20.0),
        ]
    )
    assert [p.time_ratio for p in points] == pytest.approx([2, 1, 1])
    assert [p.memory_ratio for p in points] == pytest.approx([2, 1, 1])
    assert [p.line().count('*') for p in points] == [2, 0, 0]
    assert [p.pixels for p in points] == [10_000, 20_000, 40_000]


def test_growth_covers_batches_and_sides_of_both_tasks(monkeypatch):
    asked = []

    def in_fresh_process(function, **arguments):
        asked.append((function.__name__, *arguments.values()))
        return 1.0, 2.0

    monkeypatch.setattr(growth, 'in_fresh_process', in_fresh_process)
    found = [point for measure in growth.sections('cpu').values() for point in measure()]
    shapes = [*((b, 224) for b in (1, 2, 4, 8, 16, 32, 64)), *((1, s) for s in (128, 224, 320, 448, 640, 896))]
    assert asked == [('measure_point', task, *shape, 'cpu') for task in growth.TASKS for shape in shapes]
    assert {p.series for p in found} == {f'{task} over {what}' for task in growth.TASKS for what in ('images', 'sides')}


@pytest.mark.parametrize('task', growth.TASKS)
def test_time_and_memory_of_a_point_are_measured(task, monkeypatch):
    monkeypatch.setattr(growth, 'ARCH', 'xtiny')
    monkeypatch.setattr(growth, 'MAX_SECONDS', 0)
    monkeypatch.setattr(memory, 'now', lambda device: 3 << 20)
    monkeypatch.setattr(memory, 'peak', lambda device: 8 << 20)
    ms, mib = growth.measure_point(task, batch=2, side=64, device='cpu')
    assert ms > 0
    assert mib == 5


def test_waiting_and_hooks_are_shares_of_the_iteration():
    waiting, hooks = training.shares(training.IterationTimes('a.py', [0.01, 0.03], [0.02, 0.01], [0.5, 0.5]))
    assert (waiting.ours, waiting.theirs, waiting.ratio) == (pytest.approx(20), 500, pytest.approx(0.04))
    assert (hooks.ours, hooks.theirs, hooks.ratio) == (pytest.approx(15), 500, pytest.approx(0.03))
    assert (waiting.goal, hooks.goal) == (0.05, 0.03)
    assert not waiting.missed
    assert all(found.missed for found in training.shares(training.IterationTimes('a.py', [0.03], [0.02], [0.5])))


def test_hooks_are_timed_around_each_iteration(monkeypatch):
    clock = iter([0, 2, 10, 13, 20, 27, 30, 35])  # before, after the first; an epoch's; before the second
    monkeypatch.setattr(training.time, 'perf_counter', lambda: next(clock))
    called = []
    runner = SimpleNamespace(call_hook=lambda name, **arguments: called.append((name, arguments)))
    hooks = training.TimedHooks(runner)
    for name in ('before_train_iter', 'after_train_iter', 'before_train_epoch', 'before_train_iter'):
        runner.call_hook(name, batch_idx=1)
    assert hooks.seconds == [2 + 3, 5]
    assert called[0] == ('before_train_iter', dict(batch_idx=1))
    assert len(called) == 4


def test_a_run_waits_for_its_own_data_with_its_own_hooks(tiny_config, monkeypatch):
    made = []
    task = SimpleNamespace(mini=SimpleNamespace(ROOT='here', make=made.append))
    monkeypatch.setattr(training, 'find_task', lambda name: task)
    recipe = str(tiny_config())
    path, waited, hooks, seconds = training.run('cls', recipe, iterations=2)
    assert made == ['here']
    assert path == recipe
    assert len(waited) == len(hooks) == len(seconds) == 2  # without those that warm up
    assert all(
        min(wait, hook) > 0 and wait < all_of_it for wait, hook, all_of_it in zip(waited, hooks, seconds, strict=True)
    )


def test_each_recipe_runs_in_a_fresh_process(monkeypatch):
    asked = []

    def in_fresh_process(function, **arguments):
        asked.append((function, arguments))
        return ['a.py', [0.01], [0.02], [0.5]]

    monkeypatch.setattr(training, 'in_fresh_process', in_fresh_process)
    sections = training.sections(rounds=3)
    assert [result.ratio for result in sections['run, expose, faces']()] == pytest.approx([0.02, 0.04])
    assert asked == [(training.run, dict(task='expose', path='configs/expose/face_moganet_xt_mini.py', iterations=6))]


def test_a_recipe_keeps_its_type_of_loop(monkeypatch):
    loops = [dict(max_epochs=30), dict(type='IterBasedTrainLoop', max_iters=4000, val_interval=100)]
    for loop in loops:
        cfg = Config(
            dict(
                train_cfg=loop,
                default_hooks=dict(checkpoint=dict(interval=1), timer=dict(type='IterTimerHook')),
                custom_hooks=[dict(type='EMAHook')],
                param_scheduler=[dict(type='OneCycleLR')],
                val_cfg=dict(),
                train_dataloader=dict(batch_size=4, num_workers=3, dataset=dict(type='D')),
            )
        )
        monkeypatch.setattr(training, 'load_config', lambda path, cfg=cfg: cfg)
        training.config('a.py', 10, 'work')
        assert cfg.val_cfg is None
        assert cfg.default_hooks.checkpoint is None
        assert cfg.custom_hooks[0].type == 'EMAHook'
        assert cfg.default_hooks.timer.type == 'IterTimerHook'
        assert cfg.train_dataloader.num_workers == 3
    assert loops[0] is not None
    first, second = (dict(loop) for loop in loops)
    assert (first['max_epochs'], second['max_iters']) == (30, 4000)  # what was given is left alone
    assert cfg.train_cfg.max_iters == 10
    assert 'indices' not in cfg.train_dataloader.dataset


def test_baselines_are_timms_and_accuracies_are_published():
    assert all(timm.is_model(baseline.timm) for baseline in baselines.BASELINES)
    assert [baselines.published_top1(arch) for arch in baselines.OURS] == [76.5, 79.0, 83.4, 84.3, 84.7, 85.1]
    assert len({baseline.name for baseline in baselines.BASELINES}) == len(baselines.BASELINES)


def colours(path):
    return {tuple(pixel) for pixel in np.asarray(Image.open(path).convert('RGB')).reshape(-1, 3).tolist()}


def rgb(colour):
    return tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))


def test_the_figure_shows_ours_and_theirs(tmp_path):
    ours = [
        compare.Point(f'MogaNet-{size}', speed, top1, 'a', True)
        for size, speed, top1 in (('XT', 900.0, 76.5), ('S', 300.0, 83.4))
    ]
    theirs = [compare.Point('Swin-T', 310.0, 81.3, 'b', False)]
    alone = plot.draw_points(ours, 'title', tmp_path / 'deeper' / 'alone.png')
    both = plot.draw_points(ours + theirs, 'title', tmp_path / 'both.png')
    assert rgb(plot.OURS) in colours(alone)
    assert rgb(plot.THEIRS) not in colours(alone)
    assert {rgb(plot.OURS), rgb(plot.THEIRS)} <= colours(both)


def test_names_in_the_figure_do_not_cover_each_other():
    from matplotlib.figure import Figure

    points = [compare.Point(f'Baseline-{i}', 300.0, 80.0, 'a', False) for i in range(4)]
    figure = Figure(figsize=(8, 5.5), dpi=120)
    axes = figure.add_subplot()
    axes.plot([p.images_per_s for p in points], [p.published_top1 for p in points], 's')
    plot.label_points(figure, axes, points)
    boxes = [text.get_window_extent() for text in axes.texts]
    assert [text.get_text() for text in axes.texts] == [p.name for p in points]
    assert not any(boxes[i].overlaps(boxes[j]) for i in range(4) for j in range(i))


def test_growth_is_drawn_as_a_line_per_series(tmp_path):
    points = growth.with_ratios([growth.Growth('a', n, 100, 2.0 * n, 3.0 * n) for n in (1, 2, 4)])
    path = plot.draw_growth(points, 'title', tmp_path / 'growth.png')
    assert (31, 119, 180) in colours(path)  # matplotlib's first colour
