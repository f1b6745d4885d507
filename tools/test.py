"""Evaluate a checkpoint with any config of any task.

python tools/test.py configs/cls/moganet_s.py moganet://small_1k
tools/dist_test.sh configs/cls/moganet_s.py moganet://small_1k 8
"""

import argparse
import sys
from collections.abc import Sequence

from moganet.errors import run_main
from moganet.run import engine, evaluate
from moganet.run.arguments import add_config_arguments
from moganet.run.config import load_config


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config')
    parser.add_argument('checkpoint', help='a file, an address or moganet://NAME')
    parser.add_argument('--tta', action='store_true', help="test-time augmentation: the config's tta_model")
    parser.add_argument('--fuse', action='store_true', help='fold norms and scales into convolutions: faster')
    parser.add_argument('--out', metavar='FILE', help='write the metrics (.json) or the predictions (.pkl)')
    parser.add_argument('--show-dir', metavar='DIR', help='draw the predictions into this folder')
    add_config_arguments(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Evaluate the checkpoint and print or write the metrics."""
    args = parse_args(argv)
    cfg = load_config(args.config, args.cfg_options)
    cfg.launcher = args.launcher
    engine.set_work_dir(cfg, args.config, args.work_dir)
    evaluate.prepare(cfg, tta=args.tta, out=args.out, show_dir=args.show_dir)
    runner = engine.build_runner(cfg, ('test_dataloader',), args.trust_checkpoint)
    evaluate.run_test(runner, args.checkpoint, out=args.out, fused=args.fuse)


if __name__ == '__main__':
    sys.exit(run_main(main))
