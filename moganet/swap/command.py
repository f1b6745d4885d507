"""The command ``moganet swap``: plans a swap, verifies it, writes the child config."""

import os
import sys
import tempfile
from pathlib import Path

from mmengine.config import Config

from . import probe
from .plan import Swap, plan_swap
from .source import config_source
from .verify import PROVEN, verify


def load_base(config: str) -> Config:
    """Read a config by path or by scoped name, such as 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it cannot be read.
    """
    if '::' not in config and not Path(config).is_file():
        raise FileNotFoundError(f'config {config} does not exist; configs of MM packages are named as in mmdet::...')
    with tempfile.TemporaryDirectory() as folder:
        child = Path(folder, 'child.py')
        child.write_text(f'_base_ = {_anywhere(config)!r}\n')
        try:
            return Config.fromfile(child)
        except Exception as error:
            raise ValueError(f'config {config} cannot be read: {type(error).__name__}: {error}') from error


def _anywhere(config: str) -> str:
    """Return a name of the config that is valid in any folder."""
    return config if '::' in config else os.path.abspath(config)


def child_config(base: str, original: Config, swap: Swap, title: str) -> str:
    """Return the source of the swapped config.

    Args:
        base: The value of its ``_base_``.
        original: The config that ``base`` leads to.
        swap: The changes.
        title: The docstring, without its full stop.
    """
    imports = (original.get('custom_imports') or {}).get('imports', [])
    imports = [imports] if isinstance(imports, str) else list(imports)
    return config_source(base, [*imports, 'moganet'], swap.model, swap.notices, title)


def _verify_written(swap: Swap, config: str, original: Config, scope: str) -> tuple[bool, str]:
    """Call ``verify`` on the swapped config as it is read back from a file."""
    with tempfile.TemporaryDirectory() as folder:
        child = Path(folder, 'child.py')
        child.write_text(child_config(_anywhere(config), original, swap, config))
        return verify(Config.fromfile(child), original, scope)


def _plan_and_verify(config: str, original: Config, arch: str) -> tuple[Swap, bool, str]:
    """Return the swap, and the result of ``verify``.

    Where the model does not run, numbers deep inside its heads are replaced too; that swap counts if it runs.
    """
    with probe.scope_of(original) as scope:
        swap = plan_swap(original, arch)
        usable, outcome = _verify_written(swap, config, original, scope)
        if usable or not swap.candidates:
            return swap, usable, outcome
        deep = plan_swap(original, arch, deep=True)
        replaced = [line for line in swap.candidates if line not in deep.candidates]
        deep.notices += [f'{line} was replaced too: the model cannot be run without that' for line in replaced]
        deep_usable, deep_outcome = _verify_written(deep, config, original, scope)
        return (deep, True, deep_outcome) if deep_usable else (swap, False, outcome)


def swap_config(config: str, arch: str, out: str | None) -> int:
    """Write a child config with MogaNet as its backbone, and print notices to standard error.

    Args:
        config: Path or scoped name of the config.
        arch: Size of MogaNet.
        out: The file to write; None prints the config.

    Returns:
        The exit code: 1 if the swapped model cannot be built or run.

    Raises:
        ValueError: the config has no model, or its backbone cannot be replaced.
    """
    original = load_base(config)
    if not original.get('model'):
        raise ValueError(f'config {config} has no model')
    swap, usable, outcome = _plan_and_verify(config, original, arch)
    folder = os.path.dirname(out or '') or '.'
    base = config if '::' in config else os.path.relpath(config, folder)
    source = child_config(base, original, swap, f'{config} with MogaNet ({arch}) as its backbone')
    if out:
        os.makedirs(folder, exist_ok=True)
        Path(out).write_text(source)
    else:
        print(source, end='')
    undecided = [] if outcome == PROVEN else [f'could not decide: {line}' for line in swap.candidates]
    for line in [*swap.notices, *undecided, outcome]:
        print(line, file=sys.stderr)
    return 0 if usable else 1
