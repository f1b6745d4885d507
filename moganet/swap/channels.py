"""Which numbers of a part's settings are channels that it reads from the maps of a backbone or a neck."""

import re
from collections.abc import Iterator

# Keys whose number is what a part reads, such as in_channels, c1_in_channels or backbone_channel.
INPUT_KEY = re.compile(r'(^|_)in_(channels?|dims?|planes)$|^(input|backbone)_(channels?|dims?)$')
# Keys whose list may be what a part reads, one entry per map.
LIST_KEY = re.compile(r'^(?!out|hidden|mid|conv_out).*(channels?|dims?|planes)(_list)?$')


def items(node: object, path: tuple = ()) -> Iterator[tuple[tuple, object, dict]]:
    """(path of the item, key, dict that has it) for every key of every dict in ``node``."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield (*path, key), key, node
            yield from items(value, (*path, key))
    elif isinstance(node, list | tuple):
        for i, value in enumerate(node):
            yield from items(value, (*path, i))


def named_in(part: dict) -> bool:
    """Whether a part says anything of channels that it reads."""
    return any(INPUT_KEY.search(str(key)) or LIST_KEY.search(str(key)) for _, key, _ in items(part))


def replace(part: dict, old: tuple[int, ...], new: tuple[int, ...], deep: bool = False) -> None:
    """Replace, in place, the channels that ``part`` has of the old maps by those of the new ones.

    A single number counts at the top of the part, or beside an ``in_index``; with ``deep`` anywhere in the part.
    """
    for _, key, node in list(items(part)):
        value = node[key]
        if isinstance(value, list | tuple) and LIST_KEY.search(str(key)):
            changed = _new_list(list(value), node.get('in_index'), old, new, at_top=node is part)
            if not changed:
                continue
            node[key] = type(value)(changed)
        elif type(value) is int and INPUT_KEY.search(str(key)) and (deep or node is part or 'in_index' in node):
            node[key] = _new_number(value, node.get('in_index'), old, new)
        if key == 'in_channels' and node.get('num_convs') == 0 and node.get('channels') == _total(value):
            node['channels'] = _total(node[key])  # a head without convolutions classifies what it reads


def _total(channels: object) -> object:
    return sum(channels) if isinstance(channels, list | tuple) else channels


def _new_number(value: int, index: object, old: tuple[int, ...], new: tuple[int, ...]) -> int:
    if isinstance(index, int) and -len(old) <= index < len(old) and old[index] == value:
        return new[index]
    if value in old:
        return new[len(old) - 1 - old[::-1].index(value)]  # the deepest of maps with the same channels
    return sum(new) if value == sum(old) else value


def _new_list(values: list, index: object, old: tuple[int, ...], new: tuple[int, ...], at_top: bool) -> list | None:
    """The list for the new maps if ``values`` are channels of the old ones, in order or reversed, else None."""
    if isinstance(index, list | tuple) and len(index) == len(values):
        if all(i < len(old) and old[i] == value for i, value in zip(index, values, strict=True)):
            return [new[i] for i in index]
    if len(values) == 1:
        return [new[old.index(values[0])]] if at_top and values[0] in old else None
    for before, after in ((old, new), (old[::-1], new[::-1])):
        for start in range(len(before) - len(values) + 1):
            if list(before[start : start + len(values)]) == values:
                return list(after[start : start + len(values)])
    return None


def left_alone(parts: dict, before: dict, old: tuple[int, ...], new: tuple[int, ...]) -> list[tuple[tuple, int]]:
    """Path and value of what in ``parts`` could name channels of the old maps, and is what it was ``before``."""
    unchanged = []
    for path, key, node in items(parts):
        if (
            INPUT_KEY.search(str(key))
            and type(node[key]) is int
            and _new_number(node[key], None, old, new) != node[key]
        ):
            if node[key] == at(before, path):
                unchanged.append((path, node[key]))
    return unchanged


def at(node: object, path: tuple) -> object:
    """What ``path`` leads to in nested dicts and lists."""
    for key in path:
        node = node[key]
    return node
