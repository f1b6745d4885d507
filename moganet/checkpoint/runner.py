"""Makes MMEngine's Runner load as this package does: safely whatever it reads, strictly what it puts into a model.

MMEngine's own reader loads a file that ``weights_only=True`` refuses once more without it, which runs what the file
says. The rest of this package does without MMEngine's Runner, which needs more than MMEngine's own requirements.
"""

from collections.abc import Sequence
from typing import Any

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS
from mmengine.runner.checkpoint import CheckpointLoader, get_deprecated_model_names, get_external_models
from mmengine.runner.checkpoint import get_torchvision_models as torchvision_models
from torch.nn.parallel import DataParallel, DistributedDataParallel

from . import safe
from .safe import load_checkpoint
from .strict import check_patterns, load_whole


def use_safe_loader(trust: bool = False) -> None:
    """Replace all of MMEngine's checkpoint readers, so that load_from, resume and init_cfg are safe in this process.

    Args:
        trust: The user said ``--trust-checkpoint``: read what is more than data too.
    """
    safe._trusting = trust
    for prefixes, loader in (
        (('', 'http://', 'https://'), load_from_file),
        (('torchvision://', 'modelzoo://'), load_from_torchvision),
        (('open-mmlab://', 'openmmlab://'), load_from_openmmlab),
        (('mmcls://', 'pavi://', r'(\S+\:)?s3://', r'(\S+\:)?petrel://'), load_from_nowhere),
    ):
        CheckpointLoader.register_scheme(prefixes, loader, force=True)


# MMEngine logs the name of a loader without its first ten letters.
@CheckpointLoader.register_scheme('moganet://')
def load_from_file(filename: str, map_location: Any = None) -> dict:
    return load_checkpoint(filename, map_location)


def load_from_torchvision(filename: str, map_location: Any = None) -> dict:
    return load_checkpoint(_address(filename, torchvision_models()), map_location)


def load_from_openmmlab(filename: str, map_location: Any = None) -> dict:
    scheme, name = filename.split('://', 1)
    name = get_deprecated_model_names().get(name, name)
    return load_checkpoint(_address(f'{scheme}://{name}', get_external_models()), map_location)


def load_from_nowhere(filename: str, map_location: Any = None) -> dict:
    raise ValueError(f'{filename}: not read from here; download the file and give its path')


def _address(filename: str, addresses: dict[str, str]) -> str:
    address = addresses.get(filename.split('://', 1)[1], '')
    if not address.startswith('https://'):
        raise ValueError(f'{filename}: MMEngine knows no https address for that name')
    return address


@HOOKS.register_module()
class StrictLoad(Hook):
    """Makes load_from and resume of a Runner keep to ``load_model``'s rules; MMEngine's own skip what does not fit.

    Args:
        allow: As in ``load_model``.
    """

    priority = 'VERY_HIGH'  # before EMAHook, which reads the same checkpoint

    def __init__(self, allow: Sequence[str] = ()):
        self.allow = check_patterns(allow)

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        try:
            self._load(runner, checkpoint)
        finally:
            # Runner.resume() would run this text, the config of an MMCV 1 file, as Python.
            checkpoint.get('meta', {}).pop('config', None)

    def _load(self, runner, checkpoint: dict) -> None:
        model, source = runner.model, runner._load_from or f'the last checkpoint in {runner.work_dir}'
        if is_model_wrapper(model):
            if not isinstance(model, DistributedDataParallel | DataParallel):
                print_log(f'{source}: {type(model).__name__} shards the model, names are not checked', logger='current')
                return
            model = model.module
        checkpoint['state_dict'], _ = load_whole(model, source, checkpoint, self.allow, ema=True)
