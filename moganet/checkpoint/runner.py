"""Makes MMEngine's Runner read every checkpoint safely and load it strictly into the model, as this package does.

If ``weights_only=True`` refuses a file, MMEngine's own reader loads the file again without this option, which runs code
in the file. The rest of this package does not import MMEngine's Runner, which needs more packages than MMEngine lists.
"""

from collections.abc import Sequence
from typing import Any

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from mmengine.runner.checkpoint import CheckpointLoader, get_deprecated_model_names, get_external_models
from mmengine.runner.checkpoint import get_torchvision_models as torchvision_models
from torch.nn.parallel import DataParallel, DistributedDataParallel

from ..compat import loaded_path
from . import safe
from .safe import load_checkpoint
from .strict import check_patterns, load_whole


def use_safe_loader(trust: bool = False) -> None:
    """Replace all checkpoint readers of MMEngine: ``load_from``, ``resume`` and ``init_cfg`` then read safely.

    Args:
        trust: Unpickle any object, as the user passed ``--trust-checkpoint``.
    """
    safe.trusting = trust
    for prefixes, loader in (
        (('', 'http://', 'https://'), load_from_file),
        (('torchvision://', 'modelzoo://'), load_from_torchvision),
        (('open-mmlab://', 'openmmlab://'), load_from_openmmlab),
        (('mmcls://', 'pavi://', r'(\S+\:)?s3://', r'(\S+\:)?petrel://'), load_from_unsupported),
    ):
        CheckpointLoader.register_scheme(prefixes, loader, force=True)


# The functions below are called load_from_..., as MMEngine logs their names without the first ten letters.
@CheckpointLoader.register_scheme('moganet://')
def load_from_file(filename: str, map_location: Any = None) -> dict:
    """Read the checkpoint of a path, an http(s) address or ``moganet://NAME``."""
    return load_checkpoint(filename, map_location)


def load_from_torchvision(filename: str, map_location: Any = None) -> dict:
    """Read the checkpoint of ``torchvision://NAME`` from the address that torchvision has for it."""
    return load_checkpoint(_address(filename, torchvision_models()), map_location)


def load_from_openmmlab(filename: str, map_location: Any = None) -> dict:
    """Read the checkpoint of ``open-mmlab://NAME`` from the address that MMEngine has for it."""
    scheme, name = filename.split('://', 1)
    name = get_deprecated_model_names().get(name, name)
    return load_checkpoint(_address(f'{scheme}://{name}', get_external_models()), map_location)


def load_from_unsupported(filename: str, map_location: Any = None) -> dict:
    """Raise ValueError for a scheme that this project does not read (pavi, s3, petrel, mmcls)."""
    raise ValueError(f'{filename}: this scheme is not supported; download the file and pass its local path')


def _address(filename: str, addresses: dict[str, str]) -> str:
    """Return the https address of a scheme's name; raise ValueError if there is none."""
    address = addresses.get(filename.split('://', 1)[1], '')
    if not address.startswith('https://'):
        raise ValueError(f'{filename}: MMEngine knows no https address for that name')
    return address


@HOOKS.register_module()
class StrictLoad(Hook):
    """Hook that applies the rules of ``load_model`` to ``load_from`` and ``resume``. MMEngine skips misfits silently.

    Args:
        allow: As in ``load_model``.
    """

    priority = 'VERY_HIGH'  # before EMAHook, which reads the same checkpoint

    def __init__(self, allow: Sequence[str] = ()) -> None:
        self.allow = check_patterns(allow)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Replace the state dict of ``checkpoint`` by one that fits, before the Runner loads it.

        Raises:
            ValueError: the checkpoint does not fit the model.
        """
        try:
            self._load(runner, checkpoint)
        finally:
            # The config of an MMCV 1 file. Runner.resume() would run its text as Python.
            checkpoint.get('meta', {}).pop('config', None)

    def _load(self, runner: Runner, checkpoint: dict) -> None:
        model, source = runner.model, loaded_path(runner) or f'the last checkpoint in {runner.work_dir}'
        if is_model_wrapper(model):
            if not isinstance(model, DistributedDataParallel | DataParallel):
                print_log(f'{source}: {type(model).__name__} shards the model, names are not checked', logger='current')
                return
            model = model.module
        checkpoint['state_dict'], _ = load_whole(model, source, checkpoint, self.allow, ema=True)
