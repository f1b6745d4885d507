"""Command-line arguments that several tools share."""

import argparse
from collections.abc import Sequence

from mmengine.config import DictAction


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of every tool that runs a config."""
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
    """MMEngine's KEY=VALUE parsing, with an error of one line for an argument without '='."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Sequence[str],
        option_string: str | None = None,
    ) -> None:
        """Parse ``values`` into a dict of ``namespace``."""
        for value in values:
            if '=' not in value:
                parser.error(f'{option_string}: expected KEY=VALUE, got {value!r}')
        super().__call__(parser, namespace, values, option_string)
