"""Train MogaNet on real pixels in minutes, without a GPU or data of your own.

python tools/demo.py --task cls
"""

import argparse
import sys
from collections.abc import Sequence

from moganet.errors import run_main
from moganet.run import engine
from moganet.run.arguments import add_config_arguments
from moganet.run.config import load_config
from moganet.run.tasks import PACKAGES, find_task


def main(argv: Sequence[str] | None = None) -> None:
    """Run the demo of a task."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--task', choices=sorted(PACKAGES), default='cls')
    add_config_arguments(parser)
    args = parser.parse_args(argv)
    demo = find_task(args.task).demo
    cfg = load_config(demo.CONFIG, args.cfg_options)
    cfg.launcher = args.launcher
    engine.set_work_dir(cfg, demo.CONFIG, args.work_dir)
    demo.run(cfg)


if __name__ == '__main__':
    sys.exit(run_main(main))
