"""1x1 convolutions of a folded block on a GPU, as matrix products that also compute what comes after them.

A map is (M, C), M positions of all images in their order, C channels without gaps; weights are (N, K), as those of
``torch.nn.Linear``, of the maps' type. Everything is summed in float32 and rounded once, when it is stored. M is below
2**31 - 256. Nothing here knows autograd.

Products this narrow are bound by memory, not by operations: what counts is how often maps and weights are read, and
whether anything is always on its way. There are two kinds of kernels. Of up to ``NEAR`` channels, a program has all
weights in shared memory and goes through rows, of which it reads the next ones while it computes. Of more, a program
has one tile of BM rows and BN + REST columns, two tiles side by side that share what is read of the rows: a tile's
width is a power of two, which 160 and 320 channels are not. Programs with the same rows run next to each other, and
find them in the L2 cache.
"""

import functools
import os
from collections.abc import Callable
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from .activations import over, slack
from .autotune import ceil_div, kind, launch, tuned

# The most channels, in and out, whose weights a program holds.
NEAR = 128
# Bytes of shared memory that a program must be able to have for that: what Hopper GPUs have.
SHARED = 227 << 10
# The largest BK of all configurations, of which the smaller ones are divisors.
DEPTH = 64


def _near(rows: int, warps: int, stages: int, per: int) -> triton.Config:
    """``per``: programs per multiprocessor."""
    return triton.Config(dict(BM=rows, PER=per), num_warps=warps, num_stages=stages)


def _far(rows: int, columns: int, rest: int, depth: int, warps: int, stages: int) -> triton.Config:
    return triton.Config(dict(BM=rows, BN=columns, REST=rest, BK=depth), num_warps=warps, num_stages=stages)


# Triton's interpreter takes the first of each. Of more than these, an H200 chose these for maps of MogaNet-S.
NEAR_SINGLE = (
    _near(64, 4, 3, 4),
    _near(64, 8, 3, 4),
    _near(64, 8, 4, 2),
)
FAR_SINGLE = (
    _far(128, 64, 0, 64, 4, 3),
    _far(64, 128, 0, 64, 4, 3),
)
# Two products at once have twice the sums in registers, and twice the tiles on their way.
NEAR_DOUBLE = (
    _near(64, 8, 3, 2),
    _near(64, 8, 4, 1),
)
FAR_DOUBLE = (
    _far(64, 64, 0, 64, 4, 2),
    _far(64, 128, 0, 32, 8, 4),
    _far(128, 128, 32, 64, 8, 3),
)
KEY = ('tuned_for', 'N', 'K')
# Triton's interpreter multiplies the bits of bfloat16 as integers.
INTERPRETED = tl.constexpr(os.environ.get('TRITON_INTERPRET') == '1')


@triton.jit
def _place(N, BM: tl.constexpr, WIDTH: tl.constexpr):
    """This program's first row and first column."""
    blocks = tl.cdiv(N, WIDTH)
    program = tl.program_id(0)
    return program // blocks * BM, program % blocks * WIDTH


@triton.jit
def _zeros(BM: tl.constexpr, BN: tl.constexpr, REST: tl.constexpr):
    sums = (tl.zeros((BM, BN), tl.float32),)
    if REST > 0:
        sums += (tl.zeros((BM, REST), tl.float32),)
    return sums


@triton.jit
def _read(ptr, lines, k, K, EVEN_K: tl.constexpr):
    """Elements k of lines of K elements: (lines, k)."""
    at = ptr + (lines[:, None] * K + k[None, :])
    if EVEN_K:
        return tl.load(at)
    return tl.load(at, mask=(k < K)[None, :], other=0)


@triton.jit
def _lines(first, count, WIDTH: tl.constexpr):
    """WIDTH of ``count`` lines from ``first`` on: beyond the last, the last again, which spares masks."""
    return tl.minimum(tl.arange(0, WIDTH), count - 1 - first)


@triton.jit
def dot(x, w, sums):
    """sums + x @ w.T"""
    if INTERPRETED:
        x, w = x.to(tl.float32), w.to(tl.float32)
    return tl.dot(x, w.T, sums, input_precision='ieee')


@triton.jit
def _add_product(sums, x, w_ptr, column, k, N, K, EVEN_K: tl.constexpr):
    """``sums``, one or two tiles side by side from ``column`` on, and the product of x and those columns."""
    new = ()
    for part in tl.static_range(len(sums)):
        first = column
        if part > 0:
            first += sums[0].shape[1]
        # The second tile may have no column.
        first = tl.minimum(first, N - 1)
        w = _read(w_ptr + first * K, _lines(first, N, sums[part].shape[1]), k, K, EVEN_K)
        new += (dot(x, w, sums[part]),)
    return new


@triton.jit
def _product(
    x_ptr,
    w_ptr,
    row,
    column,
    M,
    N,
    K,
    BM: tl.constexpr,
    BN: tl.constexpr,
    REST: tl.constexpr,
    BK: tl.constexpr,
    EVEN_K: tl.constexpr,
):
    """x @ w.T, as one or two tiles."""
    x_ptr += tl.cast(row, tl.int64) * K
    rows = _lines(row, M, BM)
    sums = _zeros(BM, BN, REST)
    for i in range(0, K, BK):
        k = i + tl.arange(0, BK)
        sums = _add_product(sums, _read(x_ptr, rows, k, K, EVEN_K), w_ptr, column, k, N, K, EVEN_K)
    return sums


@triton.jit
def _columns(sums, column, part: tl.constexpr):
    """Of one of the tiles."""
    first = column
    if part > 0:
        first += sums[0].shape[1]
    return first + tl.arange(0, sums[part].shape[1])


@triton.jit
def _vector(ptr, columns, N):
    """A number per column, (1, columns) in float32."""
    return tl.load(ptr + columns, mask=columns < N, other=0).to(tl.float32)[None, :]


@triton.jit
def _at(ptr, row, columns, M, N, BM: tl.constexpr):
    """Addresses of a tile of a map, and which of them are in it."""
    rows = tl.arange(0, BM)
    inside = (rows < M - row)[:, None] & (columns < N)[None, :]
    return ptr + tl.cast(row, tl.int64) * N + (rows[:, None] * N + columns[None, :]), inside


@triton.jit
def _store(ptr, x, row, columns, M, N):
    at, inside = _at(ptr, row, columns, M, N, x.shape[0])
    tl.store(at, x.to(ptr.dtype.element_ty), mask=inside)


@triton.jit
def _gate(gate, value):
    """SiLU of both, multiplied, with one division."""
    return over(gate * value, slack(gate) * slack(value))


@triton.jit(do_not_specialize=['M', 'multiprocessors', 'tuned_for'])
def _gated_near(
    u_ptr,
    m_ptr,
    w_gate_ptr,
    b_gate_ptr,
    w_value_ptr,
    b_value_ptr,
    y_ptr,
    M,
    N,
    K,
    multiprocessors,
    tuned_for,
    EVEN_K: tl.constexpr,
    BN: tl.constexpr,
    BK: tl.constexpr,
    BM: tl.constexpr,
    PER: tl.constexpr,
):
    columns, k = tl.arange(0, BN), tl.arange(0, BK)
    lines = _lines(0, N, BN)
    w_gate, w_value = _read(w_gate_ptr, lines, k, K, EVEN_K), _read(w_value_ptr, lines, k, K, EVEN_K)
    b_gate, b_value = _vector(b_gate_ptr, columns, N), _vector(b_value_ptr, columns, N)
    for row in range(tl.program_id(0) * BM, M, multiprocessors * (PER * BM)):
        start, rows = tl.cast(row, tl.int64) * K, _lines(row, M, BM)
        gate = dot(_read(u_ptr + start, rows, k, K, EVEN_K), w_gate, tl.zeros((BM, BN), tl.float32))
        value = dot(_read(m_ptr + start, rows, k, K, EVEN_K), w_value, tl.zeros((BM, BN), tl.float32))
        _store(y_ptr, _gate(gate + b_gate, value + b_value), row, columns, M, N)


@triton.jit(do_not_specialize=['M', 'multiprocessors', 'tuned_for'])
def _added_near(
    y_ptr,
    w_ptr,
    b_ptr,
    x_ptr,
    shortcut_ptr,
    out_ptr,
    M,
    N,
    K,
    multiprocessors,
    tuned_for,
    EVEN_K: tl.constexpr,
    BN: tl.constexpr,
    BK: tl.constexpr,
    BM: tl.constexpr,
    PER: tl.constexpr,
):
    columns, k = tl.arange(0, BN), tl.arange(0, BK)
    w = _read(w_ptr, _lines(0, N, BN), k, K, EVEN_K)
    b, scale = _vector(b_ptr, columns, N), 1 + _vector(shortcut_ptr, columns, N)
    step = multiprocessors * (PER * BM)
    # Triton reads ahead what is multiplied; not this.
    at, inside = _at(x_ptr, tl.program_id(0) * BM, columns, M, N, BM)
    ahead = tl.load(at, mask=inside, other=0)
    for row in range(tl.program_id(0) * BM, M, step):
        y = _read(y_ptr + tl.cast(row, tl.int64) * K, _lines(row, M, BM), k, K, EVEN_K)
        x = ahead
        at, inside = _at(x_ptr, row + step, columns, M, N, BM)
        ahead = tl.load(at, mask=inside, other=0)
        out = dot(y, w, tl.zeros((BM, BN), tl.float32)) + b + x.to(tl.float32) * scale
        _store(out_ptr, out, row, columns, M, N)


@triton.jit(do_not_specialize=['M', 'tuned_for'])
def _gated(
    u_ptr,
    m_ptr,
    w_gate_ptr,
    b_gate_ptr,
    w_value_ptr,
    b_value_ptr,
    y_ptr,
    M,
    N,
    K,
    tuned_for,
    EVEN_K: tl.constexpr,
    BM: tl.constexpr,
    BN: tl.constexpr,
    REST: tl.constexpr,
    BK: tl.constexpr,
):
    row, column = _place(N, BM, BN + REST)
    u_ptr += tl.cast(row, tl.int64) * K
    m_ptr += tl.cast(row, tl.int64) * K
    rows = _lines(row, M, BM)
    gates, values = _zeros(BM, BN, REST), _zeros(BM, BN, REST)
    # Both in one loop: alone, each would be too short to have much on its way.
    for i in range(0, K, BK):
        k = i + tl.arange(0, BK)
        gates = _add_product(gates, _read(u_ptr, rows, k, K, EVEN_K), w_gate_ptr, column, k, N, K, EVEN_K)
        values = _add_product(values, _read(m_ptr, rows, k, K, EVEN_K), w_value_ptr, column, k, N, K, EVEN_K)
    for part in tl.static_range(len(gates)):
        columns = _columns(gates, column, part)
        gate = gates[part] + _vector(b_gate_ptr, columns, N)
        value = values[part] + _vector(b_value_ptr, columns, N)
        _store(y_ptr, _gate(gate, value), row, columns, M, N)


@triton.jit(do_not_specialize=['M', 'tuned_for'])
def _added(
    y_ptr,
    w_ptr,
    b_ptr,
    x_ptr,
    shortcut_ptr,
    out_ptr,
    M,
    N,
    K,
    tuned_for,
    EVEN_K: tl.constexpr,
    BM: tl.constexpr,
    BN: tl.constexpr,
    REST: tl.constexpr,
    BK: tl.constexpr,
):
    row, column = _place(N, BM, BN + REST)
    sums = _product(y_ptr, w_ptr, row, column, M, N, K, BM, BN, REST, BK, EVEN_K)
    for part in tl.static_range(len(sums)):
        columns = _columns(sums, column, part)
        at, inside = _at(x_ptr, row, columns, M, N, BM)
        x = tl.load(at, mask=inside, other=0).to(tl.float32)
        out = sums[part] + _vector(b_ptr, columns, N)
        out += x * (1 + _vector(shortcut_ptr, columns, N))
        _store(out_ptr, out, row, columns, M, N)


class _Tuned(NamedTuple):
    """Kernels of one function, for few channels and for more."""

    near: Callable
    far: Callable


_GATED = _Tuned(tuned(KEY, *NEAR_DOUBLE)(_gated_near), tuned(KEY, *FAR_DOUBLE)(_gated))
_ADDED = _Tuned(tuned(KEY, *NEAR_SINGLE)(_added_near), tuned(KEY, *FAR_SINGLE)(_added))


def gated(u: Tensor, m: Tensor, w_gate: Tensor, b_gate: Tensor, w_value: Tensor, b_value: Tensor) -> Tensor:
    """SiLU(u @ w_gate.T + b_gate) * SiLU(m @ w_value.T + b_value) (paper Eq. 8).

    Args:
        u, m: (M, K).
        w_gate, w_value: (N, K).
        b_gate, b_value: (N,).
    """
    y = u.new_empty((len(u), len(w_gate)))
    _launch(_GATED, (u, m, w_gate, b_gate, w_value, b_value, y), (len(u), *w_gate.shape))
    return y


def added(y: Tensor, w: Tensor, b: Tensor, x: Tensor, shortcut: Tensor) -> Tensor:
    """x + x * shortcut + (y @ w.T + b), the end of a spatial half.

    Args:
        y: (M, K).
        w: (N, K).
        b, shortcut: (N,).
        x: (M, N).
    """
    out = torch.empty_like(x)
    _launch(_ADDED, (y, w, b, x, shortcut, out), (len(y), *w.shape))
    return out


def _launch(kernels: _Tuned, tensors: tuple[Tensor, ...], numbers: tuple[int, ...]) -> None:
    """``numbers``: rows, columns and the depth of the product."""
    rows, columns, depth = numbers
    if rows == 0:
        return
    multiprocessors = _multiprocessors(tensors[0].device)
    if multiprocessors and max(columns, depth) <= NEAR:
        # Tensor cores take no fewer.
        wide, deep = (max(16, 1 << (size - 1).bit_length()) for size in (columns, depth))
        launch(
            kernels.near,
            lambda meta: (min(multiprocessors * meta['PER'], ceil_div(rows, meta['BM'])),),
            tensors,
            (*numbers, multiprocessors, kind(rows, 0)),
            EVEN_K=depth == deep,
            BN=wide,
            BK=deep,
        )
    else:
        launch(
            kernels.far,
            lambda meta: (ceil_div(rows, meta['BM']) * ceil_div(columns, meta['BN'] + meta['REST']),),
            tensors,
            (*numbers, kind(rows, 0)),
            EVEN_K=depth % DEPTH == 0,
        )


@functools.cache
def _multiprocessors(device: torch.device) -> int:
    """Of the device, if programs there have room for weights; otherwise 0."""
    if device.type != 'cuda':
        return 1
    properties = torch.cuda.get_device_properties(device)
    return properties.multi_processor_count if properties.shared_memory_per_block_optin >= SHARED else 0
