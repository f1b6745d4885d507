"""The console script ``moganet``."""

import argparse
from collections.abc import Sequence

from .arch import ARCHS
from .errors import run_main


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``moganet doctor``, ``kernels``, ``weights`` or ``swap``.

    Args:
        argv: Arguments of the command line; None for those of the process.

    Returns:
        The exit code.
    """
    return run_main(_main, argv)


def _main(argv: Sequence[str] | None) -> int:
    parser = argparse.ArgumentParser(prog='moganet', description='MogaNet for OpenMMLab.')
    commands = parser.add_subparsers(dest='command', required=True)
    commands.add_parser(
        'doctor', help='versions, compiled operators, device, and the commands that install missing parts'
    )
    commands.add_parser('kernels', help='compile the kernels for the CPU of this machine (needs g++)')
    commands.add_parser('weights', help='the published weights that moganet://NAME loads')
    swapping = commands.add_parser('swap', help='replace the backbone of any config by MogaNet')
    swapping.add_argument('config', help='path, or a name such as mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py')
    swapping.add_argument('--arch', choices=tuple(ARCHS), default='small', help='size of MogaNet (default: small)')
    swapping.add_argument('--out', help='file for the swapped config (default: standard output)')
    args = parser.parse_args(argv)
    if args.command == 'swap':
        from .swap import swap_config

        return swap_config(args.config, args.arch, args.out)
    if args.command == 'doctor':
        from .doctor import main as doctor

        return doctor()
    if args.command == 'kernels':
        from .ops.cpp.library import build

        print(f'compiled for this CPU: {build()}')
        return 0
    from .checkpoint import list_weights

    for weights in list_weights():
        gate = f'gate={weights.gate}' if weights.gate else ''
        print(f'moganet://{weights.name:41} {weights.arch:10} {gate}'.rstrip())
    return 0
