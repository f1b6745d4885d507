"""Compare the paper's tables with the counts of the code and the metrics of your runs.

The exit code is 1 if a number differs without explanation.

python tools/paper_tables.py --task cls
python tools/paper_tables.py --markdown
python tools/paper_tables.py --write README.md configs/cls/README.md
"""

import argparse
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

from moganet.errors import run_main
from moganet.paper import compare, metafile, tables

ROOT = Path(__file__).resolve().parents[1]


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse and check the command line.

    Raises:
        FileNotFoundError: the folder of --results does not exist.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--task', help='a folder of configs/ (default: every one with a metafile)')
    parser.add_argument(
        '--results', type=Path, metavar='DIR', help='folder of work folders, one per config (default: work_dirs)'
    )
    parser.add_argument('--root', type=Path, default=ROOT, help='folder that holds configs/ (default: this checkout)')
    output = parser.add_mutually_exclusive_group()
    output.add_argument('--markdown', action='store_true', help='print the tables of the READMEs')
    output.add_argument(
        '--write',
        type=Path,
        nargs='+',
        default=(),
        metavar='FILE',
        help='generate the tables between <!-- table:TASK --> and <!-- /table --> anew',
    )
    args = parser.parse_args(argv)
    if args.results and not args.results.is_dir():
        raise FileNotFoundError(f'--results {args.results}: no such folder')
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Print or write the tables; return 1 if a number differs without explanation."""
    args = parse_args(argv)
    for path in args.write:
        with contextlib.redirect_stdout(sys.stderr):
            text = tables.refreshed(path, args.root)
        path.write_text(text)
    if args.write:
        return 0
    results = args.results or Path('work_dirs')
    mismatch = False
    for task in [args.task] if args.task else metafile.tasks(args.root):
        # Standard output is for the tables: the MM packages print messages while they are imported.
        with contextlib.redirect_stdout(sys.stderr):
            comparisons = compare.compare_task(task, args.root, results)
        mismatch |= any(c.verdict == compare.MISMATCH for row in comparisons for c in row)
        text = tables.markdown(comparisons, args.root, args.root) if args.markdown else tables.report(task, comparisons)
        print(text, end='\n\n')
    return int(mismatch)


if __name__ == '__main__':
    sys.exit(run_main(main))
