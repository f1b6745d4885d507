"""Rewrite FreiHAND, FFHQ's FLAME fits or Stirling's faces as the HumanData files that the ExPose recipes read.

    python tools/convert_expose_data.py freihand data/datasets/FreiHand data/preprocessed_datasets
    python tools/convert_expose_data.py ffhq data/datasets/ffhq data/preprocessed_datasets
    python tools/convert_expose_data.py stirling data/datasets/stirling data/preprocessed_datasets

The images stay in place: the recipes read them from the folders above.
"""

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from moganet.errors import run_main


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest='data', required=True)
    parsers = {}
    for name in ('freihand', 'ffhq', 'stirling'):
        parsers[name] = commands.add_parser(name)
        parsers[name].add_argument('source', metavar='SOURCE', type=Path, help='folder of the downloaded data set')
        parsers[name].add_argument('out', metavar='OUT', type=Path, help='folder for the .npz files')
        parsers[name].add_argument('--force', action='store_true', help='overwrite files in OUT')
    parsers['freihand'].add_argument(
        '--split',
        choices=('pose', 'mmhuman3d'),
        default='pose',
        help="validation on poses that are not trained on (default), or on MMHuman3D's images, whose poses all are",
    )
    parsers['freihand'].add_argument(
        '--body-model',
        type=Path,
        default=Path('data/body_models/mano/MANO_RIGHT.pkl'),
        help='MANO_RIGHT, to add its mean pose (default: %(default)s)',
    )
    parsers['freihand'].add_argument(
        '--mean-pose', metavar='FILE', type=Path, help='all_means.pkl instead, without a comparison of vertices'
    )
    parsers['ffhq'].add_argument(
        '--image-size',
        type=int,
        default=1024,
        help='height and width of the images in the pixels of the key points (default: %(default)s)',
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Convert the data set.

    Raises:
        FileExistsError: a file in OUT exists, and --force is not given.
    """
    args = vars(parse_args(argv))
    name, force = args.pop('data'), args.pop('force')
    module = importlib.import_module(f'mogapose.expose.data.convert.{name}')
    existing = [args['out'] / file for file in module.FILES if (args['out'] / file).exists()]
    if existing and not force:
        raise FileExistsError(f'{existing[0]} exists: --force overwrites it')
    print(module.convert(**args))


if __name__ == '__main__':
    sys.exit(run_main(main))
