"""The config that a swap writes, as Python source in the style of the recipes."""

import textwrap

WIDTH = 120


def config_text(base: str, imports: list[str], model: dict, notices: list[str], title: str) -> str:
    """A child config: ``base`` is its ``_base_``, ``notices`` are comments, ``model`` the keys that change."""
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
    """``value`` as Python source in the style of the configs: dict(key=value), a line per key if it does not fit."""
    plain = all(isinstance(key, str) and key.isidentifier() for key in value) if isinstance(value, dict) else False
    if isinstance(value, dict):
        items = [f'{key}=' if plain else f'{key!r}: ' for key in value]
        open_, close, children = ('dict(', ')', value.values()) if plain else ('{', '}', value.values())
    elif isinstance(value, list | tuple) and any(isinstance(child, dict) for child in value):
        items, children = [''] * len(value), value
        open_, close = ('[', ']') if isinstance(value, list) else ('(', ')')
    else:
        return repr(value)
    parts = [item + _source(child, indent + 4) for item, child in zip(items, children, strict=True)]
    line = open_ + ', '.join(parts) + close
    if len(line) + indent <= WIDTH - 20 and '\n' not in line and not isinstance(value, tuple):
        return line
    inner = ' ' * (indent + 4)
    return open_ + '\n' + ''.join(f'{inner}{part},\n' for part in parts) + ' ' * indent + close
