"""Speed and memory as ratios against named rivals in the same run. Exit code 1 if a goal is missed.

python tools/benchmark.py
python tools/benchmark.py --task cls det
python tools/benchmark.py --device cuda --all
python tools/benchmark.py --growth

Without --all or --growth: what a CPU shows, in about ten minutes on two cores. The json, and the picture of --all and
--growth beside it, are written to work_dirs/benchmark unless --out says otherwise.
"""

import argparse
import functools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from moganet.arch import ARCHS
from moganet.benchmark import compare, cpu, growth, report
from moganet.errors import run_main

FOLDER = Path('work_dirs/benchmark')
# Of `core` and `runs` the core knows; the others are tasks that have something of their own to compare.
PARTS = ('core', 'runs', 'cls', 'det', 'video')


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group()
    what.add_argument('--all', action='store_true', help='inference, training, memory: eager and compiled, and rivals')
    what.add_argument('--growth', action='store_true', help='time and memory over batches and image sizes')
    what.add_argument(
        '--task',
        nargs='+',
        choices=PARTS,
        default=['core', 'runs', 'cls'],
        help='parts of a run on a CPU (default: core runs cls)',
    )
    parser.add_argument('--device', choices=('cpu', 'cuda'), default='cpu')
    parser.add_argument('--threads', type=int, help="of the CPU (default: PyTorch's choice)")
    parser.add_argument('--rounds', type=int, default=15, help='turns of ours and the rivals (default: 15)')
    parser.add_argument(
        '--sizes',
        nargs='+',
        choices=tuple(ARCHS),
        default=compare.Setting.sizes,
        metavar='SIZE',
        help='of --all: the first one stands beside the reference path',
    )
    parser.add_argument('--side', type=int, default=compare.Setting.side, help='of --all: of the images, in pixels')
    parser.add_argument('--batch', type=int, help='of --all (default: 128, on a CPU 4)')
    parser.add_argument('--out', metavar='FILE.json', type=Path)
    args = parser.parse_args(argv)
    if args.device == 'cuda' and not (args.all or args.growth):
        parser.error('--device cuda: expected --all or --growth too; the other parts compare what CPUs do')
    if args.device == 'cuda' and not torch.cuda.is_available():
        raise ValueError('--device cuda: PyTorch sees no CUDA device here; --device cpu runs the same comparison')
    for name in ('rounds', 'side', 'batch', 'threads'):
        if (value := getattr(args, name)) is not None and value < 1:
            parser.error(f'--{name} {value}: expected 1 or more')
    return args


def setting_of(args: argparse.Namespace) -> compare.Setting:
    batch = args.batch or (compare.Setting.batch if args.device == 'cuda' else cpu.BATCH)
    return compare.Setting(args.device, tuple(args.sizes), args.side, batch, args.rounds)


def find_parts(args: argparse.Namespace) -> tuple[str, dict[str, Callable]]:
    """The name of the run, and what it measures."""
    if args.all:
        return f'all_{args.device}', compare.parts(setting_of(args))
    if args.growth:
        return f'growth_{args.device}', growth.parts(args.device)
    parts = {}
    for task in args.task:
        if task == 'core':
            parts |= cpu.parts(args.rounds)
        elif task == 'runs':
            # These need more than torch, timm and MMEngine's core, which are enough for the rest.
            from moganet.benchmark import training

            parts |= training.parts(args.rounds)
        else:
            from moganet.run.tasks import task_module

            parts[task] = functools.partial(task_module(task, 'benchmark').measure, args.rounds)
    return 'cpu', parts


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    name, parts = find_parts(args)
    out = args.out or FOLDER / f'{name}.json'
    findings = report.run(parts, args.device, out)
    title = torch.cuda.get_device_name() if args.device == 'cuda' else f'CPU, {torch.get_num_threads()} threads'
    if args.all:
        title += f', {setting_of(args).words}'
    picture = report.draw(findings, title, out.with_suffix('.png'))
    if picture:
        print(picture)
    if args.growth:
        print(growth.EXPLANATION)
    missed = [finding for finding in findings if finding.missed]
    if missed:
        print('\n'.join(['missed:', *(finding.line() for finding in missed)]))
    return int(bool(missed))


if __name__ == '__main__':
    sys.exit(run_main(main))
