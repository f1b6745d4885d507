"""Train any config of any task.

python tools/train.py configs/cls/moganet_xt_mini.py
tools/dist_train.sh configs/cls/moganet_xt.py 8
"""

import argparse
import sys
from collections.abc import Sequence

from moganet.errors import run_main
from moganet.run import engine, smoke
from moganet.run.arguments import add_config_arguments
from moganet.run.config import load_config


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='PATH',
        help='continue from a checkpoint; without a path from the last one of this run',
    )
    parser.add_argument(
        '--amp',
        nargs='?',
        const='auto',
        choices=('auto', *engine.AMP_TYPES),
        help='mixed precision (default: bfloat16 where the GPU has it, else float16)',
    )
    parser.add_argument('--auto-scale-lr', action='store_true', help='scale the learning rate with the total batch')
    parser.add_argument('--seed', type=int, help="default: the config's, else 0")
    parser.add_argument('--smoke', action='store_true', help='two iterations and one evaluation on mini data')
    add_config_arguments(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Train the config."""
    args = parse_args(argv)
    cfg = load_config(args.config, args.cfg_options)
    cfg.launcher = args.launcher
    engine.set_work_dir(cfg, args.config, args.work_dir)
    if args.smoke:
        smoke.prepare(cfg)
    engine.set_resume(cfg, args.resume)
    engine.set_amp(cfg, args.amp)
    engine.set_auto_scale_lr(cfg, args.auto_scale_lr)
    engine.set_seed(cfg, args.seed)
    runner = engine.build_runner(cfg, ('train_dataloader', 'val_dataloader'), args.trust_checkpoint)
    runner.train()


if __name__ == '__main__':
    sys.exit(run_main(main))
