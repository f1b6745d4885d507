"""Rename the tensors of a MogaNet classifier or backbone for another code base.

    python tools/convert_checkpoint.py moganet://small_1k moganet_small_mmpretrain.pth --to mmpretrain
    python tools/convert_checkpoint.py work_dirs/moganet_s/epoch_300.pth moganet_small.pth --to official

The new file holds the tensors and, if the old file states it, the gate of their training.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from moganet.checkpoint import (
    gate_of,
    load_checkpoint,
    tensors_of,
    to_mmpretrain,
    to_official,
    write_checkpoint,
)
from moganet.checkpoint.runner import use_safe_loader
from moganet.errors import run_main

LAYOUTS = dict(official=to_official, mmpretrain=to_mmpretrain)


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', metavar='IN', help='a file, an address or moganet://NAME')
    parser.add_argument('target', metavar='OUT', type=Path)
    parser.add_argument('--to', choices=LAYOUTS, required=True, help='names of the tensors in OUT')
    parser.add_argument('--no-ema', action='store_true', help='if IN holds averaged weights too, convert the others')
    parser.add_argument('--force', action='store_true', help='overwrite OUT')
    parser.add_argument(
        '--trust-checkpoint',
        action='store_true',
        help='load checkpoint files that can run code: only for files you made yourself',
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Convert the checkpoint.

    Raises:
        FileExistsError: OUT exists, and --force is not given.
        ValueError: IN holds no MogaNet.
    """
    args = parse_args(argv)
    if args.target.exists() and not args.force:
        raise FileExistsError(f'{args.target} exists: --force overwrites it')
    use_safe_loader(trust=args.trust_checkpoint)
    checkpoint = load_checkpoint(args.source)
    state_dict, weights = tensors_of(checkpoint, ema=not args.no_ema)
    gate = gate_of(checkpoint, args.source)
    try:
        tensors = LAYOUTS[args.to](state_dict)
    except ValueError as error:
        raise ValueError(f'{args.source}: {error}') from None
    write_checkpoint(dict(state_dict=tensors, meta=dict(gate=gate) if gate else {}), args.target)
    facts = (f'{len(tensors)} tensors', f'{args.to} layout', weights, f'gate {gate or "unknown"}')
    print(f'{args.target}: {", ".join(filter(None, facts))}')


if __name__ == '__main__':
    sys.exit(run_main(main))
