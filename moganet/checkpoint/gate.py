"""The gate that weights were trained with: read from the file's name or metadata, as the tensors do not tell it."""

import ast
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..arch import GATES
from .published import find_weights, weights_of_file


def gate_of(checkpoint: Mapping[str, Any], source: str = '') -> str | None:
    """Return the gate of a checkpoint's MogaNet, or None if no source below tells it.

    The sources in their order: the table of published weights, by name or file name; the ``gate`` that
    tools/convert_checkpoint.py records; the config that MMEngine and mmcv 1 store; timm's arguments and model name.

    Args:
        checkpoint: Content of the checkpoint file.
        source: Path, address or name of the checkpoint.
    """
    published = find_weights(source) if source.startswith('moganet://') else weights_of_file(Path(source).name)
    if published:
        return published.gate
    meta = checkpoint.get('meta')
    if isinstance(meta, Mapping):
        if meta.get('gate') in GATES:
            return meta['gate']
        for key in ('cfg', 'config'):
            if isinstance(meta.get(key), str):
                return gate_in_config(meta[key])
    forced = getattr(checkpoint.get('args'), 'attn_force_fp32', None)
    if forced is not None:
        return 'double' if forced else 'single'
    if str(checkpoint.get('arch')).startswith('moganet_'):
        return 'single'
    return None


def gate_in_config(text: str) -> str | None:
    """Return the gate of the MogaNet in a config's text, or None if there is no MogaNet or several that differ.

    ``gate=`` is this project's option. ``attn_force_fp32=True`` means the double gate in OpenMixup's and the official
    code. Without either option, all three use the single gate.
    """
    try:
        dicts = list(_dicts(ast.parse(text)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    gates = {
        settings.get('gate', 'double' if settings.get('attn_force_fp32') else 'single')
        for settings in dicts
        if 'MogaNet' in str(settings.get('type'))
    }
    return gates.pop() if len(gates) == 1 and gates <= set(GATES) else None


def _dicts(tree: ast.AST) -> Iterator[dict[str, Any]]:
    """Yield the entries with constant values of each ``dict(...)`` and ``{...}`` in a syntax tree."""
    for node in ast.walk(tree):
        entries: Iterable[tuple[Any, ast.expr]]
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'dict':
            entries = [(keyword.arg, keyword.value) for keyword in node.keywords]
        elif isinstance(node, ast.Dict):
            keys = (key.value if isinstance(key, ast.Constant) else None for key in node.keys)
            entries = zip(keys, node.values, strict=True)
        else:
            continue
        yield {key: value.value for key, value in entries if key is not None and isinstance(value, ast.Constant)}
