"""Speed and memory as ratios against named baselines in the same run. Exit code 1 if a goal is missed.

python tools/benchmark.py
python tools/benchmark.py --task cls det
python tools/benchmark.py --device cuda --all
python tools/benchmark.py --growth

Without --all or --growth: the benchmark of a CPU, about ten minutes on two cores. The json file, and beside it the
figure of --all and --growth, are written to work_dirs/benchmark unless --out says otherwise.
"""

import argparse
import functools
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import torch

from moganet.arch import ARCHS
from moganet.benchmark import compare, cpu, growth, report
from moganet.errors import run_main

FOLDER = Path('work_dirs/benchmark')
# `core` and `runs` are measured by moganet.benchmark, the others by the `benchmark` module of their task.
SECTIONS = ('core', 'runs', 'cls', 'det', 'video')


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse and check the command line.

    Raises:
        ValueError: --device cuda without a CUDA device.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    scope = parser.add_mutually_exclusive_group()
    scope.add_argument('--all', action='store_true', help='inference, training, memory: eager, compiled, and baselines')
    scope.add_argument('--growth', action='store_true', help='time and memory over batches and image sizes')
    scope.add_argument(
        '--task',
        nargs='+',
        choices=SECTIONS,
        default=['core', 'runs', 'cls'],
        help='sections of a run on a CPU (default: core runs cls)',
    )
    parser.add_argument('--device', choices=('cpu', 'cuda'), default='cpu')
    parser.add_argument('--threads', type=int, help="of the CPU (default: PyTorch's choice)")
    parser.add_argument(
        '--rounds', type=int, default=15, help='interleaved rounds of MogaNet and the baselines (default: 15)'
    )
    parser.add_argument(
        '--sizes',
        nargs='+',
        choices=tuple(ARCHS),
        default=compare.Setting.sizes,
        metavar='SIZE',
        help='of --all: the first one is compared with the reference mode',
    )
    parser.add_argument(
        '--side', type=int, default=compare.Setting.side, help='of --all: height and width of the images in pixels'
    )
    parser.add_argument('--batch', type=int, help='of --all: images a batch (default: 128, on a CPU 4)')
    parser.add_argument('--out', metavar='FILE.json', type=Path)
    args = parser.parse_args(argv)
    if args.device == 'cuda' and not (args.all or args.growth):
        parser.error('--device cuda: expected --all or --growth too; the other sections run on a CPU')
    if args.device == 'cuda' and not torch.cuda.is_available():
        raise ValueError('--device cuda: PyTorch sees no CUDA device here; --device cpu runs the same comparison')
    for name in ('rounds', 'side', 'batch', 'threads'):
        if (value := getattr(args, name)) is not None and value < 1:
            parser.error(f'--{name} {value}: expected 1 or more')
    return args


def setting_from(args: argparse.Namespace) -> compare.Setting:
    """Return the setting of --all."""
    batch = args.batch or (compare.Setting.batch if args.device == 'cuda' else cpu.BATCH)
    return compare.Setting(args.device, tuple(args.sizes), args.side, batch, args.rounds)


def find_sections(args: argparse.Namespace) -> tuple[str, Mapping[str, Callable[[], Iterable[report.Finding]]]]:
    """Return the name of the run, and the title and measuring call of each section."""
    if args.all:
        return f'all_{args.device}', compare.sections(setting_from(args))
    if args.growth:
        return f'growth_{args.device}', growth.sections(args.device)
    sections: dict[str, Callable[[], Iterable[report.Finding]]] = {}
    for task in args.task:
        if task == 'core':
            sections |= cpu.sections(args.rounds)
        elif task == 'runs':
            # The training runs need MM packages; the other sections need torch, timm and MMEngine alone.
            from moganet.benchmark import training

            sections |= training.sections(args.rounds)
        else:
            from moganet.run.tasks import find_task

            benchmark = find_task(task).benchmark
            assert benchmark is not None, task
            sections[task] = functools.partial(benchmark.measure, args.rounds)
    return 'cpu', sections


def main(argv: Sequence[str] | None = None) -> int:
    """Run the sections; return 1 if a goal is missed."""
    args = parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    name, sections = find_sections(args)
    out = args.out or FOLDER / f'{name}.json'
    findings = report.run(sections, args.device, out)
    title = torch.cuda.get_device_name() if args.device == 'cuda' else f'CPU, {torch.get_num_threads()} threads'
    if args.all:
        title += f', {setting_from(args).conditions}'
    figure = report.draw(findings, title, out.with_suffix('.png'))
    if figure:
        print(figure)
    if args.growth:
        print(growth.EXPLANATION)
    missed = [finding for finding in findings if finding.missed]
    if missed:
        print('\n'.join(['missed:', *(finding.line() for finding in missed)]))
    return int(bool(missed))


if __name__ == '__main__':
    sys.exit(run_main(main))
