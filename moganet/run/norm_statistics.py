"""Which norm statistics are evaluated while several GPUs train. Imported by the tasks whose recipes say so."""

from mmengine.dist import broadcast
from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@HOOKS.register_module()
class ShareFirstNorms(Hook):
    """Gives every process the buffers of the first before an evaluation: what is evaluated is what a checkpoint has.

    With plain batch norm each GPU keeps statistics of its own images, and MMEngine evaluates each GPU's part of the
    images with these. mmdet 2, mmseg 0 and mmpose 0, which the released runs used, copied the first GPU's to all.
    Training is not touched by it: it normalises with the statistics of the batch.
    """

    def before_val_epoch(self, runner) -> None:
        for buffer in runner.model.buffers():
            broadcast(buffer, src=0)
