"""The benchmark compares the named sides, writes the results, and reports missed goals. Speed itself is not tested."""

import json
import subprocess
import sys

import pytest
import torch

from helpers.tool_runs import ROOT, call, run_tool
from mogacls.benchmark import ImagesInMemory, InterleavedBareLoop
from moganet import benchmark
from moganet.benchmark import compare, cpu, growth, interleave, report

SLOW = benchmark.Result('x', 'y', 2.0, 1.0, 2.0, 1.5)
FAST = benchmark.Result('x', 'y', 1.0, 1.0, 1.0, 1.5)


def test_calls_are_interleaved_and_ours_is_divided_by_the_baseline(monkeypatch):
    clock = iter(range(10_000))
    calls = []
    durations = dict(ours=3, baseline=2)

    def work(name):
        def run():
            calls.append(name)
            for _ in range(durations[name] - 1):
                next(clock)

        return run

    monkeypatch.setattr(interleave.time, 'perf_counter', lambda: next(clock))
    result = benchmark.compare_calls('a', work('ours'), 'b', work('baseline'), goal=1.6, rounds=4)
    assert calls[2:] == ['baseline', 'ours', 'ours', 'baseline'] * 2
    assert (result.ours, result.theirs, result.ratio, result.unit) == (3000, 2000, 1.5, 'ms')
    assert result.line().endswith('ok')


def test_every_call_warms_up_as_often_as_asked():
    calls = []
    interleave.time_interleaved(dict(a=lambda: calls.append('a'), b=lambda: calls.append('b')), rounds=1, warm_ups=3)
    assert calls == list('aaabbbba')


def test_the_ratio_is_taken_within_each_round():
    # The machine halves its speed after the first round, which slows both sides.
    result = benchmark.compare_times('a', [3.0, 6.0, 6.0], 'b', [2.0, 4.0, 4.0])
    assert result.ratio == 1.5
    assert not result.missed
    assert 'goal' not in result.line()


def test_a_goal_is_an_upper_bound_and_the_line_has_the_speed_up():
    four_times = benchmark.Result('ours', 'theirs', 1.0, 4.0, 0.25, goal=1 / 3)
    twice = benchmark.Result('ours', 'theirs', 2.0, 4.0, 0.5, goal=1 / 3)
    assert (four_times.missed, twice.missed) == (False, True)
    assert ' 4.00x ' in four_times.line()
    assert ' 2.00x ' in twice.line()


def test_a_missed_goal_is_marked_and_ends_in_exit_code_1(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(cpu, 'sections', lambda rounds: dict(first=lambda: [SLOW], second=lambda: [FAST]))
    monkeypatch.setattr('mogacls.benchmark.measure', lambda rounds: [FAST])
    out = tmp_path / 'made' / 'speed.json'
    assert call('benchmark', '--task', 'core', 'cls', '--out', out) == 1
    printed, _, summary = capsys.readouterr().out.partition('missed:')
    assert printed.count('MISSED') == 1
    assert printed.count('  ok') == 2
    assert summary.count('MISSED') == 1
    written = json.loads(out.read_text())
    assert written['machine']['torch'] == torch.__version__
    assert written['machine']['threads'] == 1
    assert [(row['section'], row['ratio'], row['missed']) for row in written['findings']] == [
        ('first', 2.0, True),
        ('second', 1.0, False),
        ('cls', 1.0, False),
    ]
    assert call('benchmark', '--task', 'cls', '--out', out) == 0


def test_a_section_that_fails_is_a_miss_and_the_others_are_measured(tmp_path, capsys):
    def fails():
        yield FAST
        raise RuntimeError('no compiler')

    findings = report.run(dict(a=fails, b=lambda: [FAST]), 'cpu', tmp_path / 'x.json')
    assert [finding.missed for finding in findings] == [False, True, False]
    rows = json.loads((tmp_path / 'x.json').read_text())['findings']
    assert [(row['section'], row['kind']) for row in rows] == [('a', 'ratio'), ('a', 'failure'), ('b', 'ratio')]
    assert rows[1]['error'] == 'no compiler'
    assert 'a: FAILED, no compiler' in capsys.readouterr().out


def test_rounds_and_threads_reach_what_is_measured(monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(cpu, 'sections', lambda rounds: seen.append((rounds, torch.get_num_threads())) or {})
    monkeypatch.setattr(torch, 'set_num_threads', lambda threads: seen.append(threads))
    call('benchmark', '--task', 'core', '--rounds', '3', '--threads', '7', '--out', tmp_path / 'x.json')
    assert seen == [7, (3, 1)]


def test_the_options_of_all_reach_the_comparison_and_its_figure_lies_beside_the_json(monkeypatch, tmp_path, capsys):
    points = [compare.Point(f'MogaNet-{i}', 100.0 * i, 80.0 + i, 'somewhere', True) for i in (1, 2)]
    seen = []
    monkeypatch.setattr(compare, 'sections', lambda setting: seen.append(setting) or dict(throughput=lambda: points))
    monkeypatch.chdir(tmp_path)
    assert call('benchmark', '--all', '--sizes', 'base', 'tiny', '--side', '64', '--batch', '3', '--rounds', '2') == 0
    call('benchmark', '--all')
    assert seen == [
        compare.Setting('cpu', ('base', 'tiny'), 64, 3, 2),
        compare.Setting('cpu', ('small', 'xtiny', 'tiny', 'base'), 224, 4, 15),
    ]
    assert sorted(path.name for path in (tmp_path / 'work_dirs/benchmark').iterdir()) == ['all_cpu.json', 'all_cpu.png']
    assert 'work_dirs/benchmark/all_cpu.png' in capsys.readouterr().out


def test_growth_is_written_drawn_and_explained(monkeypatch, tmp_path, capsys):
    points = growth.with_ratios([growth.Growth('inference over images', i, 224, 10.0 * i, 5.0 * i) for i in (1, 2, 4)])
    monkeypatch.setattr(growth, 'sections', lambda device: {'inference': lambda: points})
    assert call('benchmark', '--growth', '--out', tmp_path / 'growth.json') == 0
    rows = json.loads((tmp_path / 'growth.json').read_text())['findings']
    assert [(row['batch'], row['time_ratio']) for row in rows] == [(1, 1.0), (2, 1.0), (4, 1.0)]
    assert (tmp_path / 'growth.png').is_file()
    assert growth.EXPLANATION in capsys.readouterr().out


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (('--device', 'cuda'), 'expected --all or --growth too'),
        (('--all', '--growth'), 'not allowed with'),
        (('--all', '--task', 'cls'), 'not allowed with'),
        (('--rounds', '0'), 'expected 1 or more'),
        (('--all', '--batch', '0'), '--batch 0: expected 1 or more'),
        (('--all', '--side', '-1'), '--side -1: expected 1 or more'),
        (('--task', 'seg'), 'invalid choice'),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message, capsys):
    with pytest.raises(SystemExit):
        call('benchmark', *options)
    assert message in capsys.readouterr().err


def test_a_missing_gpu_is_an_error_of_one_line(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    assert run_tool('benchmark', '--device', 'cuda', '--all') == 1
    assert 'error: --device cuda: PyTorch sees no CUDA device here' in capsys.readouterr().err


WITHOUT_MM = """
import runpy, sys
for name in ('mmcv', 'mmdet', 'mmseg', 'mmpose', 'mmpretrain', 'cv2', 'sklearn', 'skimage', 'fvcore'):
    sys.modules[name] = None  # importing it fails, as if it were not installed
import torch
from moganet.benchmark import compare, memory, roofline
roofline.MATMUL_SIDE['cpu'], roofline.COPIED_BYTES['cpu'] = 64, 1 << 16
compare.BASELINES = compare.BASELINES[:3]
compare.compiled = lambda model: model  # compiling takes minutes
memory.fresh_peak = memory.step_peak
sys.exit(runpy.run_path('tools/benchmark.py')['main'](sys.argv[1:]))
"""


def test_the_whole_comparison_runs_with_torch_timm_and_mmengine_alone(tmp_path):
    out = tmp_path / 'all.json'
    options = ['--all', '--sizes', 'xtiny', '--side', '32', '--batch', '2', '--rounds', '1', '--threads', '1']
    done = subprocess.run(
        [sys.executable, '-c', WITHOUT_MM, *options, '--out', str(out)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
    rows = json.loads(out.read_text())['findings']
    ratios = [
        (row['section'], row['name'].rpartition('batch 2')[2], row['baseline'])
        for row in rows
        if row['kind'] == 'ratio'
    ]
    inference = [(ours, baseline) for section, ours, baseline in ratios if section == 'inference']
    variants = (', fused', ', fused, compiled', ', not fused', ', not fused, compiled')
    baselines = ('reference mode', 'reference mode, compiled', 'ConvNeXt-T of timm', 'ConvNeXt-T of timm, compiled')
    assert inference == [(ours, baseline) for ours in variants for baseline in baselines]
    training = [(ours, baseline) for section, ours, baseline in ratios if section == 'training']
    assert training == [(ours, baseline) for ours in (', eager', ', compiled') for baseline in baselines[:2]]
    assert len([section for section, _, _ in ratios if section == 'memory']) == 2
    assert {row['name'] for row in rows if row['kind'] == 'point'} == {
        'MogaNet-XT',
        'ConvNeXt-T',
        'Swin-T',
        'ResNet-50',
    }
    rates = [row for row in rows if row['kind'] == 'rate']
    assert len(rates) == 8 + 4
    assert all(row['operations_floor_ms'] > 0 < row['bytes_floor_ms'] for row in rates)
    # The goals are a GPU's.
    assert all(row['goal'] is None for row in rows if row['kind'] == 'ratio')
    assert out.with_suffix('.png').is_file()


def test_the_bare_loop_trains_on_the_same_images():
    data = ImagesInMemory(64)
    item = data[3]
    assert torch.equal(item['inputs'], data.images[3])
    assert item['data_samples'].gt_label.item() == data.labels[3]
    assert InterleavedBareLoop.priority == 'LOWEST'
