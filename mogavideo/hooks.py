"""A hook of video prediction: pictures of test clips."""

from collections.abc import Sequence
from pathlib import Path

from mmengine.dist import get_dist_info
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from .draw import draw_animation, draw_curves, draw_strip


@HOOKS.register_module()
class DrawClips(Hook):
    """While testing, writes a strip and an animation of every so many clips, and at the end the error per frame.

    Args:
        enable: Draw at all; ``tools/test.py --show-dir`` sets it.
        out_dir: Folder of the pictures.
        interval: Every so many clips one is drawn.
    """

    def __init__(self, enable: bool = False, out_dir: str | None = None, interval: int = 1):
        self.enable, self.out_dir, self.interval = enable, out_dir, interval

    def before_test_epoch(self, runner) -> None:
        rank, self._stride = get_dist_info()
        self._next = rank  # place of the next clip in the data set: processes take them by turns
        self._seen = 0  # frames that the model reads

    def after_test_iter(self, runner, batch_idx: int, data_batch=None, outputs: Sequence[dict] | None = None) -> None:
        if not self.enable:
            return
        for clip in outputs or []:
            if self._next % self.interval == 0:
                frames = [clip[name].float().cpu().numpy() for name in ('inputs', 'prediction', 'target')]
                self._seen = len(frames[0])
                draw_strip(*frames, Path(self.out_dir, f'clip_{self._next:05d}.png'))
                draw_animation(*frames, Path(self.out_dir, f'clip_{self._next:05d}.gif'))
            self._next += self._stride

    def after_test_epoch(self, runner, metrics: dict | None = None) -> None:
        curves = {key.partition('/')[2]: value for key, value in (metrics or {}).items() if key.endswith('_per_frame')}
        if self.enable and curves and get_dist_info()[0] == 0:
            draw_curves(curves, self._seen + 1, Path(self.out_dir, 'curves.png'))
