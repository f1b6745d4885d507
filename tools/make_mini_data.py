"""Write the mini data of a task, in the layout of the real data.

python tools/make_mini_data.py --task cls
"""

import argparse
import sys
from collections.abc import Sequence

from moganet.errors import run_main
from moganet.run.tasks import PACKAGES, find_task


def main(argv: Sequence[str] | None = None) -> None:
    """Write the data and print a summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--task', choices=sorted(PACKAGES), default='cls')
    parser.add_argument('--out', metavar='DIR', help='default: data/mini/TASK, where the mini configs look')
    args = parser.parse_args(argv)
    mini = find_task(args.task).mini
    print(mini.make(args.out or mini.ROOT))


if __name__ == '__main__':
    sys.exit(run_main(main))
