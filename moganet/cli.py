"""Command lines: errors in one line, the arguments that several tools share, and the console script ``moganet``."""

import argparse
import re
import sys
import traceback
from collections.abc import Callable, Sequence

from mmengine.config import DictAction

from .backbone import ARCHS

# What a user can cause. Anything else is a mistake of the program and shows its traceback.
USER_ERRORS = (ValueError, KeyError, TypeError, OSError, ImportError, NotImplementedError, FloatingPointError)
MAX_MESSAGE = 600


def one_line(error: BaseException) -> str:
    """What an exception says, on one line. Of one that a loader's worker passed on, what the worker's own said."""
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    if 'Original Traceback' in text:
        text = re.sub(r'^[\w.]+: ', '', text.strip().splitlines()[-1])
    text = ' '.join(text.split())
    return text if len(text) <= MAX_MESSAGE else text[:MAX_MESSAGE] + ' ...'


def run(main: Callable[[Sequence[str] | None], int | None], argv: Sequence[str] | None = None) -> int:
    """Call a tool's main; turn an error that the user can mend into one line and exit code 1.

    ``--debug`` anywhere on the command line shows the traceback too.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    debug = '--debug' in argv
    try:
        return main([arg for arg in argv if arg != '--debug']) or 0
    except KeyboardInterrupt:
        print('stopped', file=sys.stderr)
        return 130
    except USER_ERRORS as error:
        if debug:
            traceback.print_exc()
        hint = '' if debug else ' (--debug shows where)'
        print(f'error: {one_line(error) or type(error).__name__}{hint}', file=sys.stderr)
        return 1


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of every tool that runs a config."""
    parser.add_argument('--work-dir', help='folder for logs and checkpoints (default: work_dirs/<name of the config>)')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=OptionsAction,
        default={},
        metavar='KEY=VALUE',
        help='override config values, e.g. train_cfg.max_epochs=10 data_root=data/mine',
    )
    parser.add_argument('--launcher', choices=('none', 'pytorch', 'slurm', 'mpi'), default='none')
    parser.add_argument(
        '--trust-checkpoint',
        action='store_true',
        help='load checkpoint files that can run code: only for files you made yourself',
    )
    parser.add_argument('--local-rank', '--local_rank', type=int, default=0, help=argparse.SUPPRESS)


class OptionsAction(DictAction):
    """MMEngine's KEY=VALUE parsing, with one line for an argument that has no '='."""

    def __call__(self, parser, namespace, values, option_string=None) -> None:
        for value in values:
            if '=' not in value:
                parser.error(f'{option_string}: expected KEY=VALUE, got {value!r}')
        super().__call__(parser, namespace, values, option_string)


def main(argv: Sequence[str] | None = None) -> int:
    """The console script: ``moganet doctor``, ``kernels``, ``weights`` and ``swap``."""
    return run(_main, argv)


def _main(argv: Sequence[str] | None) -> int:
    parser = argparse.ArgumentParser(prog='moganet', description='MogaNet for OpenMMLab.')
    commands = parser.add_subparsers(dest='command', required=True)
    commands.add_parser('doctor', help='versions, compiled operators, device, and what to do about what is missing')
    commands.add_parser('kernels', help='compile the kernels for the CPU of this machine (needs g++)')
    commands.add_parser('weights', help='the published weights that moganet://NAME loads')
    swapping = commands.add_parser('swap', help='put MogaNet in the place of the backbone of any config')
    swapping.add_argument('config', help='path, or a name such as mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py')
    swapping.add_argument('--arch', choices=tuple(ARCHS), default='small', help='size of MogaNet (default: small)')
    swapping.add_argument('--out', help='file for the swapped config (default: standard output)')
    args = parser.parse_args(argv)
    if args.command == 'swap':
        from .swap import main as swap

        return swap(args.config, args.arch, args.out)
    if args.command == 'doctor':
        from .doctor import main as doctor

        return doctor()
    if args.command == 'kernels':
        from .ops.cpu.library import build

        print(f'compiled for this CPU: {build()}')
        return 0
    from .checkpoint import list_weights

    for row in list_weights():
        gate = f'gate={row.gate}' if row.gate else ''
        print(f'moganet://{row.name:41} {row.arch:10} {gate}'.rstrip())
    return 0
