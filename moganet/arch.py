"""Sizes of MogaNet and checks of its options."""

from collections.abc import Sequence

# Paper, Table A1: one row per size.
ARCHS = {
    'xtiny': dict(embed_dims=(32, 64, 96, 192), depths=(3, 3, 10, 2), ffn_ratios=(8, 8, 4, 4)),
    'tiny': dict(embed_dims=(32, 64, 128, 256), depths=(3, 3, 12, 2), ffn_ratios=(8, 8, 4, 4)),
    'small': dict(embed_dims=(64, 128, 320, 512), depths=(2, 3, 12, 2), ffn_ratios=(8, 8, 4, 4)),
    'base': dict(embed_dims=(64, 160, 320, 512), depths=(4, 6, 22, 3), ffn_ratios=(8, 8, 4, 4)),
    'large': dict(embed_dims=(64, 160, 320, 640), depths=(4, 6, 44, 4), ffn_ratios=(8, 8, 4, 4)),
    'xlarge': dict(embed_dims=(96, 192, 480, 960), depths=(6, 6, 44, 4), ffn_ratios=(8, 8, 4, 4)),
}
GATES = ('single', 'double')
NUM_STAGES = 4
# Shares of the channels that see the 5x5, the 5x5 dilated by 2 and the 7x7 dilated by 3 (paper 4.3: 1:3:4).
CHANNEL_SPLIT = (1, 3, 4)
# Layers for layer-wise learning rates, as the released detectors count them. Layer 0 is the stem. The blocks of stage 3
# spread over layers 3 to 11, two blocks a layer. The last layer has the norms and all that is outside the backbone.
NUM_LAYERS = 14
LAYERS = dict(patch_embed1=0, blocks1=2, patch_embed2=3, blocks2=3, patch_embed3=4, patch_embed4=12, blocks4=12)


def split_channels(channels: int) -> tuple[int, int, int]:
    """Return the numbers of low, middle and high order channels, 1:3:4.

    The two larger groups are rounded down, and the first group takes the rest.

    Args:
        channels: Number of all channels.
    """
    total = sum(CHANNEL_SPLIT)
    middle, high = (channels * share // total for share in CHANNEL_SPLIT[1:])
    return channels - middle - high, middle, high


def resolve_arch(arch: str | dict) -> dict:
    """Return the row of ``ARCHS`` that ``arch`` names, or a copy of ``arch`` after checks of its keys and values.

    Args:
        arch: A key of ``ARCHS``, or a dict with the keys of its rows and a sequence of four numbers for each.

    Raises:
        ValueError: the size is unknown, or the dict has keys, lengths or widths that the network cannot have.
    """
    if not isinstance(arch, dict):
        if arch not in ARCHS:
            raise ValueError(
                f'arch={arch!r} is no size of MogaNet: expected one of {", ".join(ARCHS)}, or a dict with '
                'embed_dims, depths and ffn_ratios'
            )
        return ARCHS[arch]
    expected = set(ARCHS['tiny'])
    if set(arch) != expected:
        raise ValueError(f'arch has the keys {sorted(arch)}: expected exactly {sorted(expected)}')
    for key, values in arch.items():
        if len(values) != NUM_STAGES:
            raise ValueError(f'arch[{key!r}] has {len(values)} entries: expected {NUM_STAGES}, one per stage')
        if min(values) <= 0:
            raise ValueError(f'arch[{key!r}]={tuple(values)}: expected numbers above zero')
    if any(dim % sum(CHANNEL_SPLIT) for dim in arch['embed_dims']):
        raise ValueError(
            f"arch['embed_dims']={tuple(arch['embed_dims'])}: expected multiples of 8, "
            'since the channels are split 1:3:4'
        )
    return dict(arch)


def check_options(
    in_channels: int, drop_path_rate: float, out_indices: Sequence[int], frozen_stages: int, gate: str
) -> tuple[int, ...]:
    """Check the options of ``MogaNet``, which documents them.

    Returns:
        ``out_indices`` as a tuple.

    Raises:
        ValueError: an option is outside its range.
    """
    if in_channels < 1:
        raise ValueError(f'in_channels={in_channels}: expected 1 or more')
    if not 0 <= drop_path_rate < 1:
        raise ValueError(f'drop_path_rate={drop_path_rate}: expected a rate from 0 up to, not including, 1')
    out_indices = tuple(out_indices)
    if not out_indices or out_indices != tuple(sorted(set(out_indices) & set(range(NUM_STAGES)))):
        raise ValueError(f'out_indices={out_indices}: expected stages from 0 to {NUM_STAGES - 1}, rising, each once')
    if not -1 <= frozen_stages <= out_indices[-1] + 1:
        raise ValueError(
            f'frozen_stages={frozen_stages}: expected -1 (none), 0 (the stem) or up to '
            f'{out_indices[-1] + 1}, the last stage that out_indices={out_indices} builds'
        )
    if gate not in GATES:
        raise ValueError(f'gate={gate!r}: expected one of {", ".join(GATES)}')
    return out_indices


def layer_depth(param_name: str, prefix: str) -> tuple[int, int]:
    """Return the layer of a parameter, and the number of layers.

    Args:
        param_name: Name of the parameter in the whole model.
        prefix: Prefix of the backbone's own names in the model.
    """
    if not param_name.startswith(prefix):
        return NUM_LAYERS - 1, NUM_LAYERS
    part, _, rest = param_name[len(prefix) :].partition('.')
    if part == 'blocks3':
        return min(3 + int(rest.split('.')[0]) // 2, 11), NUM_LAYERS
    return LAYERS.get(part, NUM_LAYERS - 1), NUM_LAYERS
