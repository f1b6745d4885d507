"""Metrics in MMEngine's work folders."""

import json

from moganet.paper.results import newest_metrics


def write_run(work_dir, time, test=None, lines=()):
    folder = work_dir / time
    (folder / 'vis_data').mkdir(parents=True)
    if test is not None:
        (folder / f'{time}.json').write_text(json.dumps(test, indent=1))
    (folder / 'vis_data/scalars.json').write_text('\n'.join(lines))


def test_newest_metrics_takes_the_last_validation_of_a_training(tmp_path):
    lines = [
        '{"lr": 0.1, "loss": 2.0, "step": 1}',
        '{"accuracy/top1": 70.0, "accuracy/top5": 90.0, "step": 1}',
        '{"lr": 0.1, "loss": 1.0, "step": 2}',
        '{"accuracy/top1": 76.0, "accuracy/top5": 93.0, "step": 2}',
        '{"lr": 0.1, "loss": 1.0, "step": 3}',
    ]
    write_run(tmp_path, '20260101_000000', lines=lines)
    assert newest_metrics(tmp_path) == {'accuracy/top1': 76.0, 'accuracy/top5': 93.0}


def test_newest_metrics_prefers_the_test_of_the_newest_run(tmp_path):
    write_run(tmp_path, '20260102_000000', {'accuracy/top1': 80.0}, ['{"accuracy/top1": 70.0}'])
    write_run(tmp_path, '20260101_000000', {'accuracy/top1': 60.0})
    assert newest_metrics(tmp_path) == {'accuracy/top1': 80.0}


def test_newest_metrics_passes_over_runs_without_metrics_and_other_folders(tmp_path):
    write_run(tmp_path, '20260101_000000', {'accuracy/top1': 60.0})
    write_run(tmp_path, '20260102_000000', lines=['{"loss": 1.0}'])
    write_run(tmp_path, 'zz_notes', {'accuracy/top1': 99.0})
    assert newest_metrics(tmp_path) == {'accuracy/top1': 60.0}


def test_newest_metrics_skips_a_half_written_line_and_what_is_no_number(tmp_path):
    lines = ['{"coco/bbox_mAP": 0.407, "coco/note": "x", "coco/ok": true, "time": 1}', '{"coco/bbox_mAP": 0.9']
    write_run(tmp_path, '20260101_000000', lines=lines)
    (tmp_path / '20260101_000000/20260101_000000.json').write_bytes(b'\xff\xfe not json')
    assert newest_metrics(tmp_path) == {'coco/bbox_mAP': 0.407}


def test_newest_metrics_takes_metrics_without_a_slash_that_are_asked_for(tmp_path):
    lines = ['{"aAcc": 80.0, "mIoU": 40.3, "mAcc": 52.4, "time": 1, "step": 4000}', '{"loss": 1.0, "step": 4050}']
    write_run(tmp_path, '20260101_000000', lines=lines)
    assert newest_metrics(tmp_path, ('mIoU', 'mAcc')) == {'mIoU': 40.3, 'mAcc': 52.4}
    assert newest_metrics(tmp_path) == {}


def test_newest_metrics_of_no_run_is_empty(tmp_path):
    assert newest_metrics(tmp_path / 'none') == {}
