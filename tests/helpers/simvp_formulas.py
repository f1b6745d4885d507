"""SimVP once more, in plain functions of a released state dict: what the six translators that the release's outputs do
not cover must compute. Written from the papers and the released description, layer by layer, without its modules.
"""

import torch
from torch.nn import functional as F


class Weights:
    """Tensors under a prefix: ``w('fc1')`` = (weight, bias), ``w['gamma']`` a tensor, ``w / 'mlp'`` a longer prefix."""

    def __init__(self, tensors, prefix=''):
        self.tensors, self.prefix = tensors, prefix

    def __truediv__(self, name):
        return Weights(self.tensors, f'{self.prefix}{name}.')

    def __getitem__(self, name):
        return self.tensors[self.prefix + name]

    def __call__(self, name):
        return self[f'{name}.weight'], self[f'{name}.bias']

    def __contains__(self, name):
        return self.prefix + name in self.tensors


def predict(tensors, block, clip, depth=4):
    """Apply four layers down per frame, ``depth`` blocks, and four layers up to a clip (B, T, C, H, W)."""
    w = Weights(tensors)
    batch, frames, _, height, width = clip.shape
    x = clip.reshape(batch * frames, -1, height, width)
    for i, stride in enumerate((1, 2, 1, 2)):
        layer = w / f'enc.enc.{i}.conv'
        x = F.silu(F.group_norm(F.conv2d(x, *layer('conv'), stride=stride, padding=1), 2, *layer('norm')))
        if i == 0:
            skip = x
    x = x.reshape(batch, -1, *x.shape[2:])
    for i in range(depth):
        layer = w / f'hid.enc.{i}'
        x = block(layer / 'block', x, i)
        x = F.conv2d(x, *layer('reduction')) if 'reduction.weight' in layer else x
    x = x.reshape(batch * frames, -1, *x.shape[2:])
    for i in range(4):
        layer = w / f'dec.dec.{i}.conv'
        x = x + skip if i == 3 else x
        if i % 2 == 0:
            x = F.pixel_shuffle(F.conv2d(x, *layer('conv.0'), padding=1), 2)
        else:
            x = F.conv2d(x, *layer('conv'), padding=1)
        x = F.silu(F.group_norm(x, 2, *layer('norm')))
    return F.conv2d(x, *w('dec.readout')).reshape(clip.shape)


def batch_norm(w, name, x):
    return F.batch_norm(x, w[f'{name}.running_mean'], w[f'{name}.running_var'], *w(name), eps=1e-5)


def channel_norm(w, name, x, eps):
    """Apply layer norm over the channels of a map, written out."""
    centred = x - x.mean(1, keepdim=True)
    weight, bias = (tensor[:, None, None] for tensor in w(name))
    return centred / (centred.square().mean(1, keepdim=True) + eps).sqrt() * weight + bias


def pointwise(x, weight, bias):
    """Apply a linear layer over the channels of a map."""
    return torch.einsum('bchw,dc->bdhw', x, weight.flatten(1)) + bias[:, None, None]


def mlp(w, x, first='fc1', second='fc2'):
    return pointwise(F.gelu(pointwise(x, *w(first))), *w(second))


def depthwise(x, weight, bias, dilation=1):
    padding = weight.shape[-1] // 2 * dilation
    return F.conv2d(x, weight, bias, padding=padding, dilation=dilation, groups=len(weight))


def convmixer(w, x, index):
    x = x + batch_norm(w, 'norm_1', F.gelu(depthwise(x, *w('conv_dw'))))
    return batch_norm(w, 'norm_2', F.gelu(pointwise(x, *w('conv_pw'))))


def poolformer(w, x, index):
    y = F.group_norm(x, 1, *w('norm1'))
    count = F.conv2d(torch.ones_like(y[:1, :1]), torch.ones(1, 1, 3, 3), padding=1)  # neighbours inside the map
    total = depthwise(y, torch.ones(y.shape[1], 1, 3, 3), None)
    x = x + w['layer_scale_1'][:, None, None] * (total / count - y)
    return x + w['layer_scale_2'][:, None, None] * mlp(w / 'mlp', F.group_norm(x, 1, *w('norm2')))


def van(w, x, index):
    y = batch_norm(w, 'norm1', x)
    attn, unit = w / 'attn', w / 'attn.spatial_gating_unit'
    u = F.gelu(pointwise(y, *attn('proj_1')))
    attention = pointwise(depthwise(depthwise(u, *unit('conv0')), *unit('conv_spatial'), dilation=3), *unit('conv1'))
    x = x + w['layer_scale_1'][:, None, None] * (y + pointwise(u * attention, *attn('proj_2')))
    hidden = pointwise(batch_norm(w, 'norm2', x), *w('mlp.fc1'))
    hidden = F.gelu(depthwise(hidden, *w('mlp.dwconv.dwconv')))
    return x + w['layer_scale_2'][:, None, None] * pointwise(hidden, *w('mlp.fc2'))


def hornet(w, x, index):
    conv = w / 'gnconv'
    y = pointwise(channel_norm(w, 'norm1', x, 1e-6), *conv('proj_in'))
    channels = x.shape[1]
    dims = [channels // 8, channels // 4, channels // 2, channels]
    value, gates = y[:, : dims[0]], depthwise(y[:, dims[0] :], *conv('dwconv'))
    gates = [gates[:, sum(dims[:i]) : sum(dims[: i + 1])] for i in range(4)]
    value = value * gates[0]
    for i in range(3):
        value = pointwise(value, *conv(f'pws.{i}')) * gates[i + 1]
    x = x + w['gamma1'][:, None, None] * pointwise(value, *conv('proj_out'))
    return x + w['gamma2'][:, None, None] * mlp(w, channel_norm(w, 'norm2', x, 1e-6), 'pwconv1', 'pwconv2')


def mlpmixer(w, x, index):
    y = channel_norm(w, 'norm1', x, 1e-6).flatten(2)
    tokens = w / 'mlp_tokens'
    x = x + F.linear(F.gelu(F.linear(y, *tokens('fc1'))), *tokens('fc2')).reshape(x.shape)
    return x + mlp(w / 'mlp_channels', channel_norm(w, 'norm2', x, 1e-6))


def swin(w, x, index, window=4, heads=8):
    """Apply attention as a sum over pairs of positions per window, without a mask at borders that a shift joins."""
    shift = window // 2 if index % 2 else 0
    qkv = pointwise(channel_norm(w, 'norm1', x, 1e-5), *w('attn.qkv')).roll((-shift, -shift), (2, 3))
    q, k, v = qkv.unflatten(1, (3, heads, -1)).unbind(1)
    table, at = w['attn.relative_position_bias_table'], torch.arange(window)
    offset = at[:, None] - at + window - 1  # (from, to) along one axis
    rows, columns = offset[:, None, :, None], offset[None, :, None, :]
    bias = table[rows * (2 * window - 1) + columns].permute(4, 0, 1, 2, 3)  # (heads, y, x, y', x')
    out = torch.zeros_like(v)
    for top in range(0, x.shape[2], window):
        for left in range(0, x.shape[3], window):
            part = (..., slice(top, top + window), slice(left, left + window))
            scores = torch.einsum('bhcyx,bhcvu->bhyxvu', q[part], k[part]) / q.shape[2] ** 0.5 + bias
            weights = scores.flatten(4).softmax(4).reshape(scores.shape)
            out[part] = torch.einsum('bhyxvu,bhcvu->bhcyx', weights, v[part])
    out = pointwise(out.flatten(1, 2), *w('attn.proj')).roll((shift, shift), (2, 3))
    x = x + out
    return x + mlp(w / 'mlp', channel_norm(w, 'norm2', x, 1e-5))


BLOCKS = dict(convmixer=convmixer, poolformer=poolformer, van=van, hornet=hornet, mlpmixer=mlpmixer, swin=swin)
