"""Rewrite an official MANO, FLAME or SMPL-X file as a plain .npz, which numpy alone can read.

    python tools/convert_body_model.py data/body_models/mano/MANO_RIGHT.pkl data/body_models/mano/MANO_RIGHT.npz

FLAME's two files of landmarks must lie beside FLAME's model; they go into the .npz too. Conversion is optional: the
recipes read the official file, or a .npz of the same name if there is no official file. The licence of the model holds
for both.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from moganet.errors import run_main


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', metavar='IN', type=Path, help='the downloaded .pkl or .npz')
    parser.add_argument('target', metavar='OUT', type=Path, help='a .npz')
    parser.add_argument('--force', action='store_true', help='overwrite OUT')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Convert the file.

    Raises:
        FileExistsError: OUT exists, and --force is not given.
    """
    args = parse_args(argv)
    if args.target.exists() and not args.force:
        raise FileExistsError(f'{args.target} exists: --force overwrites it')
    from mogapose.expose.body_models.files import convert

    print(convert(args.source, args.target))


if __name__ == '__main__':
    sys.exit(run_main(main))
