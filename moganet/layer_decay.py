"""Layer-wise learning rates for any model of any MM package, as the released Cascade detectors have them.

A config that imports no task package names this module itself:

    custom_imports = dict(imports=['moganet', 'moganet.layer_decay'])
    optim_wrapper = dict(
        constructor='LayerDepthOptimWrapperConstructor',
        paramwise_cfg=dict(layer_decay_rate=0.8),
        optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.05))
"""

import torch
from mmengine.logging import print_log
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn

# What wrappers for sharding, compiling and recomputing put between a module's name and that of its child.
WRAPPERS = {'_fsdp_wrapped_module', '_checkpoint_wrapped_module', '_orig_mod'}
OPTION = 'layer_decay_rate'


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDepthOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """Scales the rate of layer ``i`` of ``n`` by ``layer_decay_rate ** (n - i - 1)``; decays matrices only.

    Layers are those of ``get_layer_depth(name, prefix)``, which is asked of every module that has it: MogaNet and
    mmpretrain's backbones. All other parameters keep the full rate. Biases, and tensors of which one side alone is
    longer than 1 (norms, LayerScale, scales, 1x1 convolutions to one channel), have no weight decay.

    Args:
        optim_wrapper_cfg: The config's ``optim_wrapper``; its optimizer needs ``lr``.
        paramwise_cfg: ``layer_decay_rate``, above 0 and up to 1, and nothing else.

    Raises:
        ValueError: another option, no rate, or a model where no module has ``get_layer_depth``.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None):
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
        self._shapes = original_shapes(model)
        return super().__call__(model)

    def add_params(self, params: list[dict], module: nn.Module, **kwargs) -> None:
        """Add one group per layer and weight decay to ``params``, in place."""
        owners = layered_modules(module)
        if not owners:
            raise ValueError(f'{OPTION}: no module of {type(module).__name__} has get_layer_depth, as MogaNet has')
        groups = {}
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


def layered_modules(model: nn.Module) -> dict[str, nn.Module]:
    """Every module with ``get_layer_depth``, by the prefix of its parameters in ``model``."""
    # Wrappers pass on what their module has, so the class is asked.
    found = {name: module for name, module in model.named_modules() if hasattr(type(module), 'get_layer_depth')}
    return {f'{clean(name)}.' if clean(name) else '': module for name, module in found.items()}


def distance_to_last(name: str, owners: dict[str, nn.Module]) -> int:
    """How many layers come after that of a parameter, by the innermost of ``owners`` that it belongs to."""
    prefix = max((prefix for prefix in owners if name.startswith(prefix)), key=len, default=None)
    if prefix is None:
        return 0
    layer, num_layers = owners[prefix].get_layer_depth(name, prefix)
    return num_layers - layer - 1


def clean(name: str) -> str:
    """A name without what wrappers put into it."""
    return '.'.join(part for part in name.split('.') if part not in WRAPPERS)


def original_shapes(model: nn.Module) -> dict[nn.Parameter, torch.Size]:
    """The shape of every parameter, also where FSDP has cut it into shards.

    Raises:
        ValueError: FSDP has made one parameter of many, so that they cannot have rates of their own.
    """
    shapes = {param: param.shape for param in model.parameters()}
    for module in model.modules():
        flat = getattr(module.__dict__.get('_handle'), 'flat_param', None)  # of FullyShardedDataParallel
        if flat is None:
            continue
        if flat._params is None:
            raise ValueError(f'{OPTION} needs use_orig_params=True in the model wrapper of FSDP')
        shapes.update(zip(flat._params, flat._shapes, strict=True))
    return shapes
