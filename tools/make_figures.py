"""Draw the pictures of the first page: the diagram of the network, and a grid of the demos' predictions.

python tools/make_figures.py
python tools/make_figures.py --only architecture

The grid needs a picture of each demo. A demo whose picture is missing is run first: two hours for all, on two cores.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from moganet.errors import run_main
from moganet.mini.gallery import draw_tasks, missing_tasks
from moganet.paper.diagram import draw_network
from moganet.run import engine
from moganet.run.config import load_config
from moganet.run.tasks import find_task

FIGURES = ('architecture', 'tasks')


def run_demo(task: str, work_dir: Path) -> None:
    """Train the demo of a task, which leaves its pictures in ``work_dir``."""
    demo = find_task(task).demo
    cfg = load_config(demo.CONFIG)
    cfg.launcher = 'none'
    engine.set_work_dir(cfg, demo.CONFIG, str(work_dir))
    demo.run(cfg)


def main(argv: Sequence[str] | None = None) -> None:
    """Draw the figures that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, default=Path('docs/figures'), metavar='DIR', help='default: docs/figures')
    parser.add_argument(
        '--demos',
        type=Path,
        default=Path('work_dirs/figures'),
        metavar='DIR',
        help='folder with a work folder per task (default: work_dirs/figures)',
    )
    parser.add_argument('--only', choices=FIGURES, help='one of the two figures')
    args = parser.parse_args(argv)
    if args.only != 'tasks':
        print(draw_network(args.out / 'architecture.png'))
    if args.only != 'architecture':
        for task in missing_tasks(args.demos):
            run_demo(task, args.demos / task)
        print(draw_tasks(args.demos, args.out / 'tasks.jpg'))


if __name__ == '__main__':
    sys.exit(run_main(main))
