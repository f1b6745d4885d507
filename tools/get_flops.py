"""Parameters and multiply-adds (MACs) of a config, or of a size of MogaNet as an ImageNet-1K classifier.

python tools/get_flops.py small
python tools/get_flops.py configs/cls/moganet_xt.py --shape 256 256
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from moganet.arch import ARCHS
from moganet.errors import run_main
from moganet.run.config import load_config
from moganet.run.tasks import find_task, task_of


def main(argv: Sequence[str] | None = None) -> None:
    """Count and print.

    Raises:
        ValueError: an unknown model, or a shape that is not positive.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('model', metavar='CONFIG|SIZE', help=f'a config file, or one of {", ".join(ARCHS)}')
    parser.add_argument('--shape', type=int, nargs=2, metavar=('H', 'W'), help="default: the config's test size")
    args = parser.parse_args(argv)
    if args.shape and min(args.shape) < 1:
        raise ValueError(f'--shape {" ".join(map(str, args.shape))}: expected height and width in pixels, above zero')

    if args.model in ARCHS:
        task = find_task('cls')
        cfg = task.module('complexity').size_config(args.model)
    elif args.model.endswith('.py') or Path(args.model).exists():
        cfg = load_config(args.model)
        task = find_task(task_of(cfg))
    else:
        raise ValueError(f'{args.model!r} is no config file and no size: expected one of {", ".join(ARCHS)}')

    complexity = task.complexity
    counts = [complexity.count(cfg, args.shape, counter) for counter in complexity.COUNTERS]
    height, width = counts[0].shape
    unit, part = task.nouns
    print(f'{args.model}, one {unit} of {height}x{width}')
    print(f'parameters  {counts[0].parameters:,} ({part} {counts[0].backbone_parameters:,})')
    for count in counts:
        paper = ", the paper's counter" if count.counter == complexity.PAPER_COUNTER else ''
        print(f'{count.counter:11} {count.macs / 1e9:.3f} GMACs{paper}; counts {complexity.COUNTERS[count.counter]}')
    print("A MAC is one multiply-add. The paper's tables call MACs FLOPs.")


if __name__ == '__main__':
    sys.exit(run_main(main))
