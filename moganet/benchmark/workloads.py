"""Workloads that the benchmarks time: inference and training steps of a network, in a mode of ``moganet.ops``."""

import contextlib
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from .. import ops


def inference(model: nn.Module, x: Tensor, mode: str = 'auto') -> Callable[[], None]:
    """Return a call of ``model`` on ``x`` without gradients, in a mode of ``ops.use``.

    The call leaves the training flag of the model as it is.
    """

    @torch.inference_mode()
    def run() -> None:
        with ops.use(mode):
            model(x)

    return run


def training_step(
    model: nn.Module,
    x: Tensor,
    mode: str = 'auto',
    optimizer: torch.optim.Optimizer | None = None,
    autocast: torch.dtype | None = None,
) -> Callable[[], None]:
    """Return a call that does forward, backward and the optimizer's step, and frees the gradients.

    Args:
        model: Returns a map, or a tuple of maps of which the last one counts.
        x: The batch, (B, C, H, W).
        mode: A mode of ``ops.use``.
        optimizer: None leaves the weights as they are.
        autocast: Data type of the forward pass; None runs it in the weights' own.
    """

    def step() -> None:
        precision = torch.autocast(x.device.type, autocast) if autocast else contextlib.nullcontext()
        with ops.use(mode):
            with precision:
                out = model(x)
            loss_of(out).backward()
        if optimizer:
            optimizer.step()
        model.zero_grad(set_to_none=True)

    return step


def loss_of(out: Tensor | tuple[Tensor, ...]) -> Tensor:
    """Return a scalar that depends on every element of the (last) map."""
    out = (out[-1] if isinstance(out, tuple) else out).float()
    # The mean of squares is constant behind a norm: its gradient would be nothing but rounding.
    return (out * torch.linspace(-1, 1, out.numel(), device=out.device).view_as(out)).mean()


def compiled(model: nn.Module, frozen: bool = False) -> nn.Module:
    """Return ``model`` compiled by torch.compile as one graph for one shape.

    Args:
        model: The network. Calling the compiled one raises an error at a graph break, where torch.compile would by
            default run a part uncompiled.
        frozen: Treat the weights as constants, which only inference allows, so that they get the CPU's best layout.
    """
    options: dict[str, Any] | None = dict(freezing=True) if frozen else None
    # For a module torch.compile returns a module; its annotation says callable.
    return cast(nn.Module, torch.compile(model, fullgraph=True, dynamic=False, options=options))
