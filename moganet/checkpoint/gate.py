"""Which gate weights were trained with. The tensors do not say: the file's name does, or what else it holds."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..arch import GATES
from .published import find_weights, weights_of_file


def gate_of(checkpoint: Mapping[str, Any], source: str = '') -> str | None:
    """The gate of a checkpoint's MogaNet, None where nothing says.

    Asked in this order: the table of published weights by name or file name, the ``gate`` that
    tools/convert_checkpoint.py writes down, the config that MMEngine and mmcv 1 store, the arguments and model name
    that timm stores.

    Args:
        checkpoint: As it was read.
        source: The path, address or name that it was read from.
    """
    row = find_weights(source) if source.startswith('moganet://') else weights_of_file(Path(source).name)
    if row:
        return row.gate
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
    """The gate that a config's text gives its MogaNet, None without one or with several that differ.

    ``gate=`` is this project's option; ``attn_force_fp32=True`` is how OpenMixup's and the official code spell the
    double gate. Without either, all three have the single one.
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
    """The constant entries of each ``dict(...)`` and ``{...}`` in a syntax tree."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'dict':
            pairs = [(keyword.arg, keyword.value) for keyword in node.keywords]
        elif isinstance(node, ast.Dict):
            pairs = [
                (key.value, value)
                for key, value in zip(node.keys, node.values, strict=True)
                if isinstance(key, ast.Constant)
            ]
        else:
            continue
        yield {key: value.value for key, value in pairs if isinstance(value, ast.Constant)}
