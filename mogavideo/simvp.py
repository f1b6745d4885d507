"""SimVP: an encoder per frame, a translator over all frames, a decoder per frame (arXiv 2206.05099, 2211.12509).

Clips are (B, T, C, H, W). Parameter names are those of the released code, except MogaNet's scales: see ``layouts``.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence

import torch
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F

from . import layouts
from .translators import build_translator, check_size
from .translators.layer import init_truncated

# Moving MNIST: frames, channels, height and width.
IN_SHAPE = (10, 1, 64, 64)


class ConvNormAct(nn.Module):
    """A 3x3 convolution, group norm of two groups, SiLU.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        stride: Stride of the convolution; not used when upscaling.
        upscale: Double the sides by a pixel shuffle after the convolution.
    """

    conv: nn.Module

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, upscale: bool = False) -> None:
        super().__init__()
        if upscale:
            self.conv = nn.Sequential(nn.Conv2d(in_channels, 4 * out_channels, 3, padding=1), nn.PixelShuffle(2))
        else:
            self.conv = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1)
        self.norm = nn.GroupNorm(2, out_channels)
        self.apply(init_truncated)

    def forward(self, x: Tensor) -> Tensor:
        """Return maps (B, out_channels, H, W), (B, out_channels, 2H, 2W) when upscaling."""
        return F.silu(self.norm(self.conv(x)))


def _named_conv(in_channels: int, out_channels: int, stride: int = 1, upscale: bool = False) -> nn.Sequential:
    """Return a ``ConvNormAct`` inside a module, as the released names have it: 'conv.conv', 'conv.norm'."""
    return nn.Sequential(OrderedDict(conv=ConvNormAct(in_channels, out_channels, stride, upscale)))


class Encoder(nn.Module):
    """A sequence of ``depth`` convolutions of which every second halves the sides; stride = 2 ** (depth / 2).

    Args:
        in_channels: Channels of a frame.
        channels: Channels of the features.
        depth: Number of layers.
    """

    def __init__(self, in_channels: int, channels: int, depth: int) -> None:
        super().__init__()
        self.enc = nn.ModuleList(
            _named_conv(channels if i else in_channels, channels, stride=1 + i % 2) for i in range(depth)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Encode frames (N, C, H, W).

        Returns:
            The features (N, channels, H / stride, W / stride), and the first layer's map (N, channels, H, W).
        """
        skip = x = self.enc[0](x)
        for layer in self.enc[1:]:
            x = layer(x)
        return x, skip


class Decoder(nn.Module):
    """The encoder mirrored, then a 1x1 convolution without activation. The skip is added before the last layer.

    Args:
        channels: Channels of the features.
        out_channels: Channels of a frame.
        depth: Number of layers before the 1x1 convolution.
    """

    def __init__(self, channels: int, out_channels: int, depth: int) -> None:
        super().__init__()
        self.dec = nn.ModuleList(_named_conv(channels, channels, upscale=i % 2 == 0) for i in range(depth))
        self.readout = nn.Conv2d(channels, out_channels, 1)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Decode features (N, channels, H / stride, W / stride) to frames (N, out_channels, H, W).

        Args:
            x: The features after the translator.
            skip: The first map of the encoder, (N, channels, H, W).
        """
        for layer in self.dec[:-1]:
            x = layer(x)
        return self.readout(self.dec[-1](x + skip))


@MODELS.register_module()
class SimVP(BaseModel):
    """SimVP reads T frames and predicts the next T in one pass. For more frames, it reads its own predictions.

    Args:
        in_shape: (T, C, H, W) of the input clips. H and W are multiples of 2 ** (N_S / 2). Other sizes work too, except
            for mlpmixer, and for swin if the windows do not divide the maps.
        translator: 'moganet', 'gsta', 'incepu', 'vit', 'swin', 'uniformer', 'mlpmixer', 'convmixer', 'poolformer',
            'convnext', 'van' or 'hornet'.
        hid_S: Channels of encoder and decoder, even.
        hid_T: Channels of the translator, a multiple of 8, for incepu of 16.
        N_S: Layers of the encoder, and of the decoder; even.
        N_T: Blocks of the translator. incepu has twice as many.
        drop_path: Stochastic depth of the last block, rising linearly from 0.01 at the first. incepu and convmixer
            have none.
        out_frames: Number of frames to predict if there are no targets.
        with_cp: Use activation checkpointing of the translator's blocks: less training memory, more time.
        data_preprocessor: A module or its config, as a rule ``dict(type='FramePreprocessor')``.

    Raises:
        ValueError: an option is outside its range; the message names the option and the expected range.
    """

    def __init__(
        self,
        in_shape: Sequence[int] = IN_SHAPE,
        translator: str = 'moganet',
        hid_S: int = 64,
        hid_T: int = 512,
        N_S: int = 4,
        N_T: int = 8,
        drop_path: float = 0.0,
        out_frames: int = 10,
        with_cp: bool = False,
        data_preprocessor: dict | nn.Module | None = None,
    ) -> None:
        super().__init__(data_preprocessor)
        _check_options(in_shape, hid_S, N_S, out_frames)
        frames, channels, height, width = in_shape
        self.in_shape = (frames, channels, height, width)
        self.translator = translator
        self.out_frames = out_frames
        self.stride = 2 ** (N_S // 2)
        self._check_sides(height, width, 'in_shape')
        size = (height // self.stride, width // self.stride)
        self.enc = Encoder(channels, hid_S, N_S)
        self.hid = build_translator(translator, frames * hid_S, hid_T, N_T, size, drop_path, with_cp)
        self.dec = Decoder(hid_S, channels, N_S)

    def forward(
        self, inputs: Tensor, targets: Tensor | None = None, mode: str = 'tensor'
    ) -> Tensor | dict[str, Tensor] | list[dict[str, Tensor]]:
        """Predict the frames after ``inputs``: as many as ``targets`` has, ``out_frames`` without targets.

        Args:
            inputs: Input clips, (B, T, C, H, W) floats with T and C of ``in_shape``.
            targets: The frames that follow, (B, T', C, H, W).
            mode: 'tensor', 'loss' or 'predict'.

        Returns:
            For 'tensor' the prediction (B, T', C, H, W). For 'loss' a dict with ``loss``, the mean squared error. For
            'predict' a dict per clip with ``inputs``, ``prediction`` and, if there are targets, ``target``.

        Raises:
            ValueError: the model cannot read clips of this shape, the loss has no targets, or the mode is unknown.
        """
        if mode not in ('tensor', 'loss', 'predict'):
            raise ValueError(f'mode={mode!r}: expected tensor, loss or predict')
        self._check_inputs(inputs)
        if mode == 'loss':
            if targets is None:
                raise ValueError('the loss needs targets, the frames that follow the inputs')
            return dict(loss=F.mse_loss(self.roll_out(inputs, targets.shape[1]), targets))
        prediction = self.roll_out(inputs, self.out_frames if targets is None else targets.shape[1])
        if mode == 'tensor':
            return prediction
        prediction = prediction.to(inputs.dtype)  # numpy may not know the half precision of autocast
        clips = dict(inputs=inputs, prediction=prediction) | ({} if targets is None else dict(target=targets))
        return [dict(zip(clips, values, strict=True)) for values in zip(*clips.values(), strict=True)]

    def roll_out(self, inputs: Tensor, frames: int) -> Tensor:
        """Predict any number of frames. Each pass reads the prediction of the last; surplus frames are cut off.

        Args:
            inputs: Input clips, (B, T, C, H, W).
            frames: Number of frames to predict, T'.

        Returns:
            Predicted frames, (B, T', C, H, W).
        """
        passes = []
        for _ in range(-(-frames // self.in_shape[0])):
            inputs = self._next_clip(inputs)
            passes.append(inputs)
        return torch.cat(passes, dim=1)[:, :frames]

    def _next_clip(self, clip: Tensor) -> Tensor:
        """Predict T frames from T frames in one pass, (B, T, C, H, W) to the same shape."""
        batch, frames = clip.shape[:2]
        x, skip = self.enc(clip.flatten(0, 1))
        channels = x.shape[1]
        x = self.hid(x.unflatten(0, (batch, frames)).flatten(1, 2))
        x = x.unflatten(1, (frames, channels)).flatten(0, 1)
        return self.dec(x, skip).unflatten(0, (batch, frames))

    def from_released(self, state_dict: Mapping[str, Tensor]) -> tuple[Mapping[str, Tensor], str]:
        """Rename the tensors of a released checkpoint. ``moganet.checkpoint`` calls this before it compares names.

        Returns:
            The renamed tensors and a description of the changes, see ``layouts.from_released``.
        """
        return layouts.from_released(state_dict)

    def _check_inputs(self, inputs: Tensor) -> None:
        shape = tuple(inputs.shape)
        frames, channels = self.in_shape[:2]
        if len(shape) != 5 or shape[1:3] != (frames, channels):
            raise ValueError(f'inputs are {shape}: expected (clips, {frames} frames, {channels} channels, H, W)')
        self._check_sides(*shape[3:], 'inputs')
        size, built_for = ((s[0] // self.stride, s[1] // self.stride) for s in (shape[3:], self.in_shape[2:]))
        check_size(self.translator, size, built_for)

    def _check_sides(self, height: int, width: int, name: str) -> None:
        if height % self.stride or width % self.stride:
            raise ValueError(f'{name} has frames of {height}x{width}: expected multiples of {self.stride}')


def _check_options(in_shape: Sequence[int], hid_S: int, N_S: int, out_frames: int) -> None:
    """Raise ValueError for an option outside its range."""
    if len(in_shape) != 4 or min(in_shape) < 1:
        raise ValueError(f'in_shape={tuple(in_shape)}: expected (frames, channels, height, width)')
    if hid_S < 2 or hid_S % 2:
        raise ValueError(f'hid_S={hid_S}: expected an even number')
    if N_S < 2 or N_S % 2:
        raise ValueError(f'N_S={N_S}: expected an even number, since every second layer halves the sides')
    if out_frames < 1:
        raise ValueError(f'out_frames={out_frames}: expected 1 or more')
