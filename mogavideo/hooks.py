"""Hook that draws test clips of video prediction."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.dist import get_dist_info
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from .draw import draw_animation, draw_curves, draw_strip


@HOOKS.register_module()
class DrawClips(Hook):
    """While testing, writes a strip and an animation of every ``interval``-th clip, and at the end the error per frame.

    Args:
        enable: Draw at all; ``tools/test.py --show-dir`` sets it.
        out_dir: Folder to write to, needed if ``enable`` is set.
        interval: Draw one clip in ``interval`` clips.

    Raises:
        ValueError: a clip is to be drawn and there is no ``out_dir``.
    """

    def __init__(self, enable: bool = False, out_dir: str | None = None, interval: int = 1) -> None:
        self.enable, self.out_dir, self.interval = enable, out_dir, interval

    def before_test_epoch(self, runner: Runner) -> None:
        """Start counting the clips of this process."""
        rank, self._stride = get_dist_info()
        self._index = rank  # of the next clip in the data set: processes read the clips interleaved
        self._num_inputs = 0  # frames that the model reads

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Sequence[dict] | None = None
    ) -> None:
        """Draw the clips of a batch that are due."""
        if not self.enable:
            return
        for clip in outputs or []:
            if self._index % self.interval == 0:
                inputs, prediction, target = (
                    clip[name].float().cpu().numpy() for name in ('inputs', 'prediction', 'target')
                )
                self._num_inputs = len(inputs)
                draw_strip(inputs, prediction, target, self._file(f'clip_{self._index:05d}.png'))
                draw_animation(inputs, prediction, target, self._file(f'clip_{self._index:05d}.gif'))
            self._index += self._stride

    def after_test_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Draw the curves of the metrics per frame, if ``VideoMetric`` computed them."""
        curves = {key.partition('/')[2]: value for key, value in (metrics or {}).items() if key.endswith('_per_frame')}
        if self.enable and curves and get_dist_info()[0] == 0:
            draw_curves(curves, self._num_inputs + 1, self._file('curves.png'))

    def _file(self, name: str) -> Path:
        if self.out_dir is None:
            raise ValueError('DrawClips(enable=True) needs out_dir, the folder to write to')
        return Path(self.out_dir, name)
