"""The paper's tables beside what this code counts and your runs measured. Exit code 1 if an unexplained number differs.

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


def main(argv: Sequence[str] | None = None) -> int:
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
    results = args.results or Path('work_dirs')

    for path in args.write:
        with contextlib.redirect_stdout(sys.stderr):
            text = tables.refreshed(path, args.root)
        path.write_text(text)
    mismatch = False
    for task in [] if args.write else [args.task] if args.task else metafile.tasks(args.root):
        # What the MM packages print while they are imported is no part of a table.
        with contextlib.redirect_stdout(sys.stderr):
            comparisons = compare.compare_task(task, args.root, results)
        mismatch |= any(c.verdict == compare.MISMATCH for row in comparisons for c in row)
        text = tables.markdown(comparisons, args.root, args.root) if args.markdown else tables.report(task, comparisons)
        print(text, end='\n\n')
    return int(mismatch)


if __name__ == '__main__':
    sys.exit(run_main(main))
