"""Speed as ratios against named rivals in the same run. Exit code 1 if a goal is missed.

python tools/benchmark.py
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from moganet import benchmark, cli
from moganet.tasks import PACKAGES, task_module


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--task', nargs='+', choices=('core', *PACKAGES), default=['core', 'cls'])
    parser.add_argument('--threads', type=int, help="of the CPU (default: PyTorch's choice)")
    parser.add_argument('--rounds', type=int, default=15, help='turns of ours and the rivals')
    parser.add_argument('--out', metavar='FILE.json')
    args = parser.parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    print(f'torch {torch.__version__}, CPU, {torch.get_num_threads()} threads', flush=True)
    results = []
    for task in args.task:
        module = benchmark if task == 'core' else task_module(task, 'benchmark')
        new = module.measure(args.rounds)
        results += new
        print('\n'.join(result.line() for result in new), flush=True)
    if args.out:
        Path(args.out).write_text(json.dumps([result.as_dict() for result in results], indent=2) + '\n')
    return int(any(result.missed for result in results))


if __name__ == '__main__':
    sys.exit(cli.run(main))
