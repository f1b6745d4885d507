"""Layer-wise learning rates for the models of all MM packages, as in the released Cascade detectors.

A config without a task package imports this module itself:

    custom_imports = dict(imports=['moganet', 'moganet.layer_decay'])
    optim_wrapper = dict(
        constructor='LayerDepthOptimWrapperConstructor',
        paramwise_cfg=dict(layer_decay_rate=0.8),
        optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.05))
"""

from collections.abc import Mapping
from typing import Any, Protocol, TypeGuard

import torch
from mmengine.logging import print_log
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn

from .compat import WRAPPER_NAMES, sharded_shapes

OPTION = 'layer_decay_rate'


class Layered(Protocol):
    """A module that numbers the layers of its parameters, such as MogaNet."""

    def get_layer_depth(self, param_name: str, prefix: str) -> tuple[int, int]:
        """Return the layer of a parameter, from 0, and the number of layers.

        Args:
            param_name: Name of the parameter in the whole model.
            prefix: Prefix of this module's names in the whole model.
        """


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDepthOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """Constructor of optimizers with a learning rate per layer: ``lr * layer_decay_rate ** (n - i - 1)``, i of n.

    Each module with a method ``get_layer_depth``, such as MogaNet and mmpretrain's backbones, numbers the layers of its
    parameters. All other parameters have the full rate. Biases have no weight decay, nor have tensors with one side
    longer than 1 (norms, LayerScale, scales, 1x1 convolutions to one channel).

    Args:
        optim_wrapper_cfg: The config's ``optim_wrapper``. Its optimizer needs ``lr``.
        paramwise_cfg: ``layer_decay_rate``, above 0 and up to 1, and no other option.

    Raises:
        ValueError: there is another option or no rate.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        super().__init__(optim_wrapper_cfg, paramwise_cfg)
        rate = self.paramwise_cfg.get(OPTION, 0)
        if set(self.paramwise_cfg) != {OPTION} or not 0 < rate <= 1:
            raise ValueError(
                f'paramwise_cfg of {type(self).__name__} is {dict(self.paramwise_cfg)}: expected {OPTION}, above 0 and '
                'up to 1, and nothing else'
            )
        if self.base_lr is None:
            raise ValueError(f'optimizer has no lr: {type(self).__name__} scales it')

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Return the optimizer of a model, inside its wrapper.

        Raises:
            ValueError: no module of the model has ``get_layer_depth``, or FSDP has merged the parameters.
        """
        self._shapes = original_shapes(model)
        return super().__call__(model)

    def add_params(self, params: list[dict], module: nn.Module, **kwargs: object) -> None:
        """Add one group per layer and weight decay to ``params``.

        Args:
            params: Groups of the optimizer. Changed in place.
            module: The model.
            kwargs: Arguments of MMEngine's constructor, unused.

        Raises:
            ValueError: no module of the model has ``get_layer_depth``.
        """
        owners = layered_modules(module)
        if not owners:
            raise ValueError(f'{OPTION}: no module of {type(module).__name__} has get_layer_depth, as MogaNet has')
        groups: dict[tuple[float, bool], dict[str, Any]] = {}
        for raw_name, param in module.named_parameters():
            if not param.requires_grad:
                continue
            name = clean(raw_name)
            scale = self.paramwise_cfg[OPTION] ** distance_to_last(name, owners)
            decayed = not (name.endswith('.bias') or sum(side != 1 for side in self._shapes[param]) == 1)
            group = groups.setdefault((scale, decayed), dict(params=[], lr=self.base_lr * scale, lr_scale=scale))
            if self.base_wd is not None:
                group['weight_decay'] = self.base_wd if decayed else 0.0
            group['params'].append(param)
        params.extend(groups.values())
        rates = [group['lr'] for group in groups.values()]
        print_log(
            f'{OPTION}={self.paramwise_cfg[OPTION]}: rates from {min(rates):.3g} to {max(rates):.3g} in '
            f'{len(set(rates))} steps',
            logger='current',
        )


def layered_modules(model: nn.Module) -> dict[str, Layered]:
    """Return each module with ``get_layer_depth``, by the prefix of its parameters in ``model``."""
    found = {clean(name): module for name, module in model.named_modules() if is_layered(module)}
    return {f'{name}.' if name else '': module for name, module in found.items()}


def is_layered(module: nn.Module) -> TypeGuard[Layered]:
    """Return whether the class of a module has ``get_layer_depth``. A wrapper's instance has it from its module."""
    return hasattr(type(module), 'get_layer_depth')


def distance_to_last(name: str, owners: Mapping[str, Layered]) -> int:
    """Return the number of layers after that of a parameter, 0 outside ``owners``.

    Args:
        name: Name of the parameter in the model, without the names of wrappers.
        owners: As ``layered_modules`` returns them. The innermost one that has the parameter counts.
    """
    prefix = max((prefix for prefix in owners if name.startswith(prefix)), key=len, default=None)
    if prefix is None:
        return 0
    layer, num_layers = owners[prefix].get_layer_depth(name, prefix)
    return num_layers - layer - 1


def clean(name: str) -> str:
    """Return the name of a parameter or module without the names of wrappers in it."""
    return '.'.join(part for part in name.split('.') if part not in WRAPPER_NAMES)


def original_shapes(model: nn.Module) -> dict[nn.Parameter, torch.Size]:
    """Return the shape of every parameter, before FSDP cut it into shards.

    Raises:
        ValueError: FSDP has merged many parameters into one, which cannot have several rates.
    """
    shapes = {param: param.shape for param in model.parameters()}
    for module in model.modules():
        sharded = sharded_shapes(module)
        if sharded is None:
            raise ValueError(f'{OPTION} needs use_orig_params=True in the model wrapper of FSDP')
        shapes.update(sharded)
    return shapes
