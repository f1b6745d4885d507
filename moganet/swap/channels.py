"""Finds and replaces, in the settings of a neck or head, the channels of the maps that the module reads."""

import re
from collections.abc import Iterator
from typing import Any

# Keys whose number is an input width, such as in_channels, c1_in_channels or backbone_channel.
INPUT_KEY = re.compile(r'(^|_)in_(channels?|dims?|planes)$|^(input|backbone)_(channels?|dims?)$')
# Keys whose list may hold input widths, one entry per map.
LIST_KEY = re.compile(r'^(?!out|hidden|mid|conv_out).*(channels?|dims?|planes)(_list)?$')

ConfigPath = tuple[str | int, ...]  # keys and indices that lead to a value inside a config


def items(node: object, path: ConfigPath = ()) -> Iterator[tuple[ConfigPath, str, dict[str, Any]]]:
    """Yield every key of every dict inside ``node``: the path of its value, the key, and the dict."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield (*path, key), key, node
            yield from items(value, (*path, key))
    elif isinstance(node, list | tuple):
        for i, value in enumerate(node):
            yield from items(value, (*path, i))


def names_channels(settings: dict[str, Any]) -> bool:
    """Return True if the settings of a module have any key that may hold input widths."""
    return any(INPUT_KEY.search(str(key)) or LIST_KEY.search(str(key)) for _, key, _ in items(settings))


def replace(settings: dict[str, Any], old: tuple[int, ...], new: tuple[int, ...], deep: bool = False) -> None:
    """Replace, in place, the channels of the old maps by the channels of the new maps.

    Args:
        settings: The settings of a neck or head.
        old: Channels of the old maps.
        new: Channels of the new maps, as many.
        deep: Replace single numbers anywhere. By default a single number counts at the top of the settings and beside
            an ``in_index`` only; a list counts anywhere.
    """
    for _, key, node in list(items(settings)):
        value = node[key]
        if isinstance(value, list | tuple) and LIST_KEY.search(str(key)):
            changed = _new_list(list(value), node.get('in_index'), old, new, at_top=node is settings)
            if not changed:
                continue
            node[key] = type(value)(changed)
        elif type(value) is int and INPUT_KEY.search(str(key)) and (deep or node is settings or 'in_index' in node):
            node[key] = _new_number(value, node.get('in_index'), old, new)
        if key == 'in_channels' and node.get('num_convs') == 0 and node.get('channels') == _total(value):
            node['channels'] = _total(node[key])  # a head without convolutions classifies its input


def _total(channels: Any) -> Any:
    return sum(channels) if isinstance(channels, list | tuple) else channels


def _new_number(value: int, index: object, old: tuple[int, ...], new: tuple[int, ...]) -> int:
    """Return the width for the new maps; a number that is no width of the old maps stays."""
    if isinstance(index, int) and -len(old) <= index < len(old) and old[index] == value:
        return new[index]
    if value in old:
        return new[len(old) - 1 - old[::-1].index(value)]  # the deepest of maps with the same channels
    return sum(new) if value == sum(old) else value


def _new_list(
    values: list[Any], index: object, old: tuple[int, ...], new: tuple[int, ...], at_top: bool
) -> list[int] | None:
    """Return the list for the new maps if ``values`` are channels of the old ones, in order or reversed, else None."""
    if (
        isinstance(index, list | tuple)
        and len(index) == len(values)
        and all(i < len(old) and old[i] == value for i, value in zip(index, values, strict=True))
    ):
        return [new[i] for i in index]
    if len(values) == 1:
        return [new[old.index(values[0])]] if at_top and values[0] in old else None
    for before, after in ((old, new), (old[::-1], new[::-1])):
        for start in range(len(before) - len(values) + 1):
            if list(before[start : start + len(values)]) == values:
                return list(after[start : start + len(values)])
    return None


def not_replaced(
    settings: dict[str, Any], before: Any, old: tuple[int, ...], new: tuple[int, ...]
) -> list[tuple[ConfigPath, int]]:
    """Return path and value of each number that could be a width of the old maps and is still unchanged.

    Args:
        settings: The settings after ``replace``.
        before: The settings before.
        old: Channels of the old maps.
        new: Channels of the new maps.
    """
    unchanged = []
    for path, key, node in items(settings):
        if (
            INPUT_KEY.search(str(key))
            and type(node[key]) is int
            and _new_number(node[key], None, old, new) != node[key]
            and value_at(before, path) == node[key]
        ):
            unchanged.append((path, node[key]))
    return unchanged


def value_at(node: Any, path: ConfigPath) -> Any:
    """Return the value at ``path`` in nested dicts and lists."""
    for key in path:
        node = node[key]
    return node
