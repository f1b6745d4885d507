"""What is timed: a network's inference, and its training step, by the path named."""

import contextlib
from collections.abc import Callable

import torch
from torch import Tensor, nn

from .. import ops


def inference(model: nn.Module, x: Tensor, path: str = 'auto') -> Callable[[], None]:
    """Forward of ``model``, whatever mode it is in."""

    @torch.inference_mode()
    def run() -> None:
        with ops.use(path):
            model(x)

    return run


def training_step(
    model: nn.Module,
    x: Tensor,
    path: str = 'auto',
    optimizer: torch.optim.Optimizer | None = None,
    autocast: torch.dtype | None = None,
) -> Callable[[], None]:
    """Forward, backward and the optimizer's step, if there is one; the gradients are freed."""

    def step() -> None:
        precision = torch.autocast(x.device.type, autocast) if autocast else contextlib.nullcontext()
        with ops.use(path):
            with precision:
                out = model(x)
            loss_of(out).backward()
        if optimizer:
            optimizer.step()
        model.zero_grad(set_to_none=True)

    return step


def loss_of(out: Tensor | tuple[Tensor, ...]) -> Tensor:
    """A number that depends on every element of the last map."""
    out = (out[-1] if isinstance(out, tuple) else out).float()
    # Behind a norm the mean of squares is a constant: its gradient would be nothing but rounding.
    return (out * torch.linspace(-1, 1, out.numel(), device=out.device).view_as(out)).mean()


def compiled(model: nn.Module, frozen: bool = False) -> nn.Module:
    """``model`` as one graph for one shape; an error where that cannot be, where PyTorch would go on uncompiled.

    ``frozen`` takes its weights for constants, which inference alone allows: they are laid out as the CPU likes them.
    """
    return torch.compile(model, fullgraph=True, dynamic=False, options=dict(freezing=True) if frozen else None)
