"""The benchmark compares what it says it compares. How fast things are is no test."""

import json

import torch
from tool_runs import call

from mogacls.benchmark import BareLoopByTurns, ImagesInMemory
from moganet import benchmark


def test_compare_takes_turns_and_divides_ours_by_the_rival(monkeypatch):
    clock = iter(range(10_000))
    calls = []
    durations = dict(ours=3, rival=2)

    def work(name):
        def run():
            calls.append(name)
            for _ in range(durations[name] - 1):
                next(clock)

        return run

    monkeypatch.setattr(benchmark.time, 'perf_counter', lambda: next(clock))
    result = benchmark.compare('a', work('ours'), 'b', work('rival'), goal=1.6, rounds=4)
    assert calls[2:] == ['rival', 'ours', 'ours', 'rival'] * 2
    assert (result.ours_ms, result.rival_ms, result.ratio) == (3000, 2000, 1.5)
    assert result.line().endswith('ok')


def test_the_ratio_is_taken_within_each_round():
    # The machine halves its speed after the first round, which slows both sides.
    result = benchmark.result('a', [3.0, 6.0, 6.0], 'b', [2.0, 4.0, 4.0])
    assert result.ratio == 1.5 and not result.missed and 'goal' not in result.line()


def test_a_missed_goal_is_marked_and_ends_in_exit_code_1(monkeypatch, tmp_path, capsys):
    slow = benchmark.Result('x', 'y', 2.0, 1.0, 2.0, 1.5)
    fast = benchmark.Result('x', 'y', 1.0, 1.0, 1.0, 1.5)
    monkeypatch.setattr(benchmark, 'measure', lambda rounds: [slow, fast])
    monkeypatch.setattr('mogacls.benchmark.measure', lambda rounds: [fast])
    assert call('benchmark', '--out', tmp_path / 'speed.json') == 1
    out = capsys.readouterr().out
    assert out.count('MISSED') == 1 and out.count('  ok') == 2
    assert [row['ratio'] for row in json.loads((tmp_path / 'speed.json').read_text())] == [2.0, 1.0, 1.0]
    assert call('benchmark', '--task', 'cls') == 0


def test_the_bare_loop_trains_on_the_same_images():
    data = ImagesInMemory(64)
    item = data[3]
    assert torch.equal(item['inputs'], data.images[3])
    assert item['data_samples'].gt_label.item() == data.labels[3]
    assert BareLoopByTurns.priority == 'LOWEST'
