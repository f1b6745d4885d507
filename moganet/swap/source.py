"""Writes a child config as Python source in the style of the recipes."""

import textwrap
from typing import Any

WIDTH = 120


def config_source(base: str, imports: list[str], model: dict[str, Any], notices: list[str], title: str) -> str:
    """Return the source of a child config.

    Args:
        base: The value of ``_base_``.
        imports: Modules for ``custom_imports``.
        model: The changed keys of ``model``.
        notices: Comments above the settings, wrapped to the line.
        title: The docstring, without its full stop.
    """
    lines = [f'"""{title}."""', '']
    for notice in notices:
        lines += [f'# {line}' for line in textwrap.wrap(notice, WIDTH - 2)]
    lines += [
        f'_base_ = {base!r}',
        f'custom_imports = {_source(dict(imports=imports), 0)}',
        f'model = {_source(model, 0)}',
    ]
    return '\n'.join(lines) + '\n'


def _source(value: object, indent: int) -> str:
    """Return the source of a value, with dict(key=value) for dicts, and a line per key where one line is too short."""
    children: list[object]
    if isinstance(value, dict):
        identifiers = all(isinstance(key, str) and key.isidentifier() for key in value)
        prefixes = [f'{key}=' if identifiers else f'{key!r}: ' for key in value]
        children = list(value.values())
        opening, closing = ('dict(', ')') if identifiers else ('{', '}')
    elif isinstance(value, list | tuple) and any(isinstance(child, dict) for child in value):
        prefixes, children = [''] * len(value), list(value)
        opening, closing = ('[', ']') if isinstance(value, list) else ('(', ')')
    else:
        return repr(value)
    items = [prefix + _source(child, indent + 4) for prefix, child in zip(prefixes, children, strict=True)]
    line = opening + ', '.join(items) + closing
    # A tuple goes on several lines: each item there ends with a comma, which a tuple of one item needs.
    if len(line) + indent <= WIDTH - 20 and '\n' not in line and not isinstance(value, tuple):
        return line
    inner = ' ' * (indent + 4)
    return opening + '\n' + ''.join(f'{inner}{item},\n' for item in items) + ' ' * indent + closing
