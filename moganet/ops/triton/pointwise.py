"""1x1 convolutions of a folded block as matmuls that also compute the element-wise steps after them.

A map is (M, C): M positions of all images, C channels, contiguous. M is below 2**31 - 256. Weights are (N, K), as in
``torch.nn.Linear``, of the type of the maps. Sums are float32 and rounded once, when the result is stored. These
functions do not record gradients.

Matmuls this narrow are bound by memory. Their speed depends on how often maps and weights are read, and on loads that
never pause. There are two kinds of kernels:

* resident, up to ``MAX_RESIDENT`` channels: a program holds all weights in shared memory and walks through rows. It
  loads the next rows while it computes.
* tiled, for more channels: a program computes BM rows by BN + BN_2 columns. These are two neighbouring tiles that share
  the loaded rows, since a tile's width is a power of two, which 160 and 320 channels are not. Programs with the same
  rows run next to each other and find the rows in the L2 cache.
"""

import functools
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from .activations import divide, silu_denominator
from .autotune import autotuned, ceil_div, launch, size_bucket

# Most input and output channels of the resident kernels.
MAX_RESIDENT = 128
# Bytes of shared memory that the resident kernels need, as Hopper GPUs have.
SHARED_MEMORY = 227 << 10
# Largest BK of all configurations; the smaller ones divide it.
DEPTH = 64


def resident_config(rows: int, warps: int, stages: int, per_sm: int) -> triton.Config:
    """Return a configuration of a resident kernel; ``per_sm``: programs per multiprocessor."""
    return triton.Config(dict(BM=rows, PER_SM=per_sm), num_warps=warps, num_stages=stages)


def tiled_config(rows: int, columns: int, second: int, depth: int, warps: int, stages: int) -> triton.Config:
    """Return a configuration of a tiled kernel; ``columns`` and ``second``: widths of the two tiles."""
    return triton.Config(dict(BM=rows, BN=columns, BN_2=second, BK=depth), num_warps=warps, num_stages=stages)


# Triton's interpreter takes the first of each. An H200 chose these, out of more, for the maps of MogaNet-S.
RESIDENT_SINGLE = (
    resident_config(64, 4, 3, 4),
    resident_config(64, 8, 3, 4),
    resident_config(64, 8, 4, 2),
)
TILED_SINGLE = (
    tiled_config(128, 64, 0, 64, 4, 3),
    tiled_config(64, 128, 0, 64, 4, 3),
)
# Two matmuls at once have twice the sums in registers, and twice the tiles being loaded.
RESIDENT_DOUBLE = (
    resident_config(64, 8, 3, 2),
    resident_config(64, 8, 4, 1),
)
TILED_DOUBLE = (
    tiled_config(64, 64, 0, 64, 4, 2),
    tiled_config(64, 128, 0, 32, 8, 4),
    tiled_config(128, 128, 32, 64, 8, 3),
)
KEY = ('bucket', 'N', 'K')
# Triton's interpreter multiplies the bits of bfloat16 as integers.
INTERPRETED = tl.constexpr(os.environ.get('TRITON_INTERPRET') == '1')


@triton.jit
def _locate(N, BM: tl.constexpr, WIDTH: tl.constexpr):
    """Return this program's first row and first column."""
    blocks = tl.cdiv(N, WIDTH)
    program = tl.program_id(0)
    return program // blocks * BM, program % blocks * WIDTH


@triton.jit
def _zeros(BM: tl.constexpr, BN: tl.constexpr, BN_2: tl.constexpr):
    """Return the sums of one or two tiles: (BM, BN), and (BM, BN_2) unless BN_2 is 0."""
    sums = (tl.zeros((BM, BN), tl.float32),)
    if BN_2 > 0:
        sums += (tl.zeros((BM, BN_2), tl.float32),)
    return sums


@triton.jit
def _read(ptr, rows, k, K, EVEN_K: tl.constexpr):
    """Return the elements k of rows of K elements: (rows, k)."""
    pointers = ptr + (rows[:, None] * K + k[None, :])
    if EVEN_K:
        return tl.load(pointers)
    return tl.load(pointers, mask=(k < K)[None, :], other=0)


@triton.jit
def _clamped(first, count, WIDTH: tl.constexpr):
    """Return WIDTH of ``count`` row numbers, relative to ``first``; beyond the last row, the last again: no masks."""
    return tl.minimum(tl.arange(0, WIDTH), count - 1 - first)


@triton.jit
def dot(x, w, sums):
    """Return sums + x @ w.T."""
    if INTERPRETED:
        x, w = x.to(tl.float32), w.to(tl.float32)
    return tl.dot(x, w.T, sums, input_precision='ieee')


@triton.jit
def _add_matmul(sums, x, w_ptr, column, k, N, K, EVEN_K: tl.constexpr):
    """Add the matmul of x and the rows of w from ``column`` on to ``sums``, one or two neighbouring tiles."""
    new = ()
    for tile in tl.static_range(len(sums)):
        first = column
        if tile > 0:
            first += sums[0].shape[1]
        # The second tile may lie outside the map.
        first = tl.minimum(first, N - 1)
        w = _read(w_ptr + first * K, _clamped(first, N, sums[tile].shape[1]), k, K, EVEN_K)
        new += (dot(x, w, sums[tile]),)
    return new


@triton.jit
def _matmul(
    x_ptr,
    w_ptr,
    row,
    column,
    M,
    N,
    K,
    BM: tl.constexpr,
    BN: tl.constexpr,
    BN_2: tl.constexpr,
    BK: tl.constexpr,
    EVEN_K: tl.constexpr,
):
    """Return x @ w.T as one or two tiles."""
    x_ptr += tl.cast(row, tl.int64) * K
    rows = _clamped(row, M, BM)
    sums = _zeros(BM, BN, BN_2)
    for i in range(0, K, BK):
        k = i + tl.arange(0, BK)
        sums = _add_matmul(sums, _read(x_ptr, rows, k, K, EVEN_K), w_ptr, column, k, N, K, EVEN_K)
    return sums


@triton.jit
def _columns(sums, column, tile: tl.constexpr):
    """Return the columns of one of the tiles."""
    first = column
    if tile > 0:
        first += sums[0].shape[1]
    return first + tl.arange(0, sums[tile].shape[1])


@triton.jit
def _load_columns(ptr, columns, N):
    """Return one value per column, (1, columns) in float32."""
    return tl.load(ptr + columns, mask=columns < N, other=0).to(tl.float32)[None, :]


@triton.jit
def _locate_tile(ptr, row, columns, M, N, BM: tl.constexpr):
    """Return the pointers of a tile of a map, and the mask of those inside."""
    rows = tl.arange(0, BM)
    inside = (rows < M - row)[:, None] & (columns < N)[None, :]
    return ptr + tl.cast(row, tl.int64) * N + (rows[:, None] * N + columns[None, :]), inside


@triton.jit
def _store(ptr, x, row, columns, M, N):
    """Store a tile of a map."""
    pointers, inside = _locate_tile(ptr, row, columns, M, N, x.shape[0])
    tl.store(pointers, x.to(ptr.dtype.element_ty), mask=inside)


@triton.jit
def _gate(gate, value):
    """Return SiLU(gate) * SiLU(value) with one division."""
    return divide(gate * value, silu_denominator(gate) * silu_denominator(value))


@triton.jit(do_not_specialize=['M', 'multiprocessors', 'bucket'])
def _gated_resident(
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
    bucket,
    EVEN_K: tl.constexpr,
    BN: tl.constexpr,
    BK: tl.constexpr,
    BM: tl.constexpr,
    PER_SM: tl.constexpr,
):
    columns, k = tl.arange(0, BN), tl.arange(0, BK)
    w_rows = _clamped(0, N, BN)
    w_gate, w_value = _read(w_gate_ptr, w_rows, k, K, EVEN_K), _read(w_value_ptr, w_rows, k, K, EVEN_K)
    b_gate, b_value = _load_columns(b_gate_ptr, columns, N), _load_columns(b_value_ptr, columns, N)
    for row in range(tl.program_id(0) * BM, M, multiprocessors * (PER_SM * BM)):
        start, rows = tl.cast(row, tl.int64) * K, _clamped(row, M, BM)
        gate = dot(_read(u_ptr + start, rows, k, K, EVEN_K), w_gate, tl.zeros((BM, BN), tl.float32))
        value = dot(_read(m_ptr + start, rows, k, K, EVEN_K), w_value, tl.zeros((BM, BN), tl.float32))
        _store(y_ptr, _gate(gate + b_gate, value + b_value), row, columns, M, N)


@triton.jit(do_not_specialize=['M', 'multiprocessors', 'bucket'])
def _added_resident(
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
    bucket,
    EVEN_K: tl.constexpr,
    BN: tl.constexpr,
    BK: tl.constexpr,
    BM: tl.constexpr,
    PER_SM: tl.constexpr,
):
    columns, k = tl.arange(0, BN), tl.arange(0, BK)
    w = _read(w_ptr, _clamped(0, N, BN), k, K, EVEN_K)
    b, scale = _load_columns(b_ptr, columns, N), 1 + _load_columns(shortcut_ptr, columns, N)
    step = multiprocessors * (PER_SM * BM)
    # Triton loads the operands of a matmul ahead of their use, but not this map.
    pointers, inside = _locate_tile(x_ptr, tl.program_id(0) * BM, columns, M, N, BM)
    ahead = tl.load(pointers, mask=inside, other=0)
    for row in range(tl.program_id(0) * BM, M, step):
        y = _read(y_ptr + tl.cast(row, tl.int64) * K, _clamped(row, M, BM), k, K, EVEN_K)
        x = ahead
        pointers, inside = _locate_tile(x_ptr, row + step, columns, M, N, BM)
        ahead = tl.load(pointers, mask=inside, other=0)
        out = dot(y, w, tl.zeros((BM, BN), tl.float32)) + b + x.to(tl.float32) * scale
        _store(out_ptr, out, row, columns, M, N)


@triton.jit(do_not_specialize=['M', 'bucket'])
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
    bucket,
    EVEN_K: tl.constexpr,
    BM: tl.constexpr,
    BN: tl.constexpr,
    BN_2: tl.constexpr,
    BK: tl.constexpr,
):
    row, column = _locate(N, BM, BN + BN_2)
    u_ptr += tl.cast(row, tl.int64) * K
    m_ptr += tl.cast(row, tl.int64) * K
    rows = _clamped(row, M, BM)
    gates, values = _zeros(BM, BN, BN_2), _zeros(BM, BN, BN_2)
    # Both matmuls share a loop: separate loops would be too short to keep many loads in flight.
    for i in range(0, K, BK):
        k = i + tl.arange(0, BK)
        gates = _add_matmul(gates, _read(u_ptr, rows, k, K, EVEN_K), w_gate_ptr, column, k, N, K, EVEN_K)
        values = _add_matmul(values, _read(m_ptr, rows, k, K, EVEN_K), w_value_ptr, column, k, N, K, EVEN_K)
    for tile in tl.static_range(len(gates)):
        columns = _columns(gates, column, tile)
        gate = gates[tile] + _load_columns(b_gate_ptr, columns, N)
        value = values[tile] + _load_columns(b_value_ptr, columns, N)
        _store(y_ptr, _gate(gate, value), row, columns, M, N)


@triton.jit(do_not_specialize=['M', 'bucket'])
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
    bucket,
    EVEN_K: tl.constexpr,
    BM: tl.constexpr,
    BN: tl.constexpr,
    BN_2: tl.constexpr,
    BK: tl.constexpr,
):
    row, column = _locate(N, BM, BN + BN_2)
    sums = _matmul(y_ptr, w_ptr, row, column, M, N, K, BM, BN, BN_2, BK, EVEN_K)
    for tile in tl.static_range(len(sums)):
        columns = _columns(sums, column, tile)
        pointers, inside = _locate_tile(x_ptr, row, columns, M, N, BM)
        x = tl.load(pointers, mask=inside, other=0).to(tl.float32)
        out = sums[tile] + _load_columns(b_ptr, columns, N)
        out += x * (1 + _load_columns(shortcut_ptr, columns, N))
        _store(out_ptr, out, row, columns, M, N)


class Kernels(NamedTuple):
    """Autotuned kernels of one function.

    Attributes:
        resident: For up to ``MAX_RESIDENT`` channels.
        tiled: For more channels, and GPUs with less shared memory.
    """

    resident: Callable
    tiled: Callable


GATED = Kernels(autotuned(KEY, *RESIDENT_DOUBLE)(_gated_resident), autotuned(KEY, *TILED_DOUBLE)(_gated))
ADDED = Kernels(autotuned(KEY, *RESIDENT_SINGLE)(_added_resident), autotuned(KEY, *TILED_SINGLE)(_added))


def gated(u: Tensor, m: Tensor, w_gate: Tensor, b_gate: Tensor, w_value: Tensor, b_value: Tensor) -> Tensor:
    """Return SiLU(u @ w_gate.T + b_gate) * SiLU(m @ w_value.T + b_value) (paper Eq. 8), (M, N).

    Args:
        u: Input of the gate (M, K).
        m: Input of the value (M, K).
        w_gate: (N, K).
        b_gate: (N).
        w_value: (N, K).
        b_value: (N).
    """
    y = u.new_empty((len(u), len(w_gate)))
    _launch(GATED, (u, m, w_gate, b_gate, w_value, b_value, y), (len(u), *w_gate.shape))
    return y


def added(y: Tensor, w: Tensor, b: Tensor, x: Tensor, shortcut: Tensor) -> Tensor:
    """Return x + x * shortcut + (y @ w.T + b), the end of the spatial branch, (M, N).

    Args:
        y: Output of the gate (M, K).
        w: Weight (N, K).
        b: Bias (N).
        x: The residual (M, N).
        shortcut: Factors of the residual (N).
    """
    out = torch.empty_like(x)
    _launch(ADDED, (y, w, b, x, shortcut, out), (len(y), *w.shape))
    return out


def _launch(kernels: Kernels, tensors: tuple[Tensor, ...], sizes: tuple[int, ...]) -> None:
    """Run the kernel that fits a matmul of ``sizes``: rows, columns and depth."""
    rows, columns, depth = sizes
    if rows == 0:
        return
    multiprocessors = resident_multiprocessors(tensors[0].device)
    if multiprocessors and max(columns, depth) <= MAX_RESIDENT:
        # Tensor cores need at least 16.
        padded_columns, padded_depth = (max(16, 1 << (size - 1).bit_length()) for size in (columns, depth))
        launch(
            kernels.resident,
            lambda meta: (min(multiprocessors * meta['PER_SM'], ceil_div(rows, meta['BM'])),),
            tensors,
            (*sizes, multiprocessors, size_bucket(rows, 0)),
            EVEN_K=depth == padded_depth,
            BN=padded_columns,
            BK=padded_depth,
        )
    else:
        launch(
            kernels.tiled,
            lambda meta: (ceil_div(rows, meta['BM']) * ceil_div(columns, meta['BN'] + meta['BN_2']),),
            tensors,
            (*sizes, size_bucket(rows, 0)),
            EVEN_K=depth % DEPTH == 0,
        )


@functools.cache
def resident_multiprocessors(device: torch.device) -> int:
    """Return the device's number of multiprocessors, or 0 if the resident kernels do not fit their shared memory."""
    if device.type != 'cuda':
        return 1
    properties: Any = torch.cuda.get_device_properties(device)  # its stub lacks the shared memory
    return properties.multi_processor_count if properties.shared_memory_per_block_optin >= SHARED_MEMORY else 0
