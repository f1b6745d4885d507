"""Draw the predictions of a checkpoint.

python tools/infer.py configs/cls/moganet_s.py moganet://small_1k photo.jpg folder_of_photos --out-dir predictions

Pose needs a box for each person, ExPose a box for each hand, face or body: from a file or from a detector. Without
either, the whole image is the box.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from moganet import fuse
from moganet.checkpoint.runner import use_safe_loader
from moganet.errors import run_main
from moganet.run.arguments import OptionsAction
from moganet.run.config import load_config
from moganet.run.tasks import Task, find_task, task_of

BOX_OPTIONS = ('boxes', 'det_config', 'det_checkpoint', 'det_class')


def find_boxes(args: argparse.Namespace, task: Task, subject: str) -> Callable[[Path], object] | None:
    """Return the source of boxes that the options name.

    Args:
        args: The options.
        task: The task of the config.
        subject: The default class of the subjects in the boxes.

    Returns:
        A function from the path of an image to its boxes; None if no option names a source.

    Raises:
        ValueError: the options do not fit the task or each other, or a file or model cannot be used.
        FileNotFoundError: a file of the options does not exist.
    """
    options = [name for name in BOX_OPTIONS if getattr(args, name) is not None]
    if options and not task.takes_boxes:
        raise ValueError(
            f'--{options[0].replace("_", "-")} is for pose and expose, {args.config} is of task {task.name!r}'
        )
    from mogapose import boxes

    if args.boxes and len(options) > 1:
        raise ValueError('--boxes and a detector: expected one of them')
    if args.boxes:
        return boxes.from_json(args.boxes, subject)
    if not options:
        return None
    if not (args.det_config and args.det_checkpoint):
        raise ValueError('a detector needs both --det-config and --det-checkpoint')
    detector = find_task('det').predictor(load_config(args.det_config), args.det_checkpoint)
    return boxes.from_detector(detector, args.det_class or subject)


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config')
    parser.add_argument('checkpoint', help='a file, an address or moganet://NAME')
    parser.add_argument(
        'images', nargs='+', metavar='IMAGE', help='files or folders; for video GIFs, npy files or folders of frames'
    )
    parser.add_argument('--fuse', action='store_true', help='fold norms and scales into convolutions: faster')
    parser.add_argument('--out-dir', default='predictions')
    parser.add_argument('--cfg-options', nargs='+', action=OptionsAction, default={}, metavar='KEY=VALUE')
    parser.add_argument('--trust-checkpoint', action='store_true', help='load a checkpoint that can run code')
    box_options = parser.add_argument_group('pose and expose')
    box_options.add_argument(
        '--boxes',
        metavar='FILE.json',
        help='COCO annotations or a list of detections (image_id or file_name, bbox, score)',
    )
    box_options.add_argument('--det-config', metavar='CONFIG', help='a detection config')
    box_options.add_argument('--det-checkpoint', metavar='CHECKPOINT', help='its weights')
    box_options.add_argument('--det-class', metavar='NAME', help='class of the boxes (default: person, hand or face)')
    return parser.parse_args(argv)


def target_names(images: Sequence[Path]) -> Iterator[str]:
    """Yield a name for each image: its stem, with its folder and a number if an earlier image has that name."""
    used: set[str] = set()
    for image in images:
        name = image.stem if image.stem not in used else f'{image.parent.name}_{image.stem}_{len(used)}'
        used.add(name)
        yield name


def main(argv: Sequence[str] | None = None) -> None:
    """Draw the predictions and print a line for each image."""
    args = parse_args(argv)
    cfg = load_config(args.config, args.cfg_options)
    use_safe_loader(trust=args.trust_checkpoint)
    task = find_task(task_of(cfg))
    images = task.find_inputs(args.images)
    boxes = find_boxes(args, task, task.box_subject(cfg))
    predictor = task.predictor(cfg, args.checkpoint)
    if args.fuse:
        predictor.model = fuse(predictor.model)
    for image, name in zip(images, target_names(images), strict=True):
        target = Path(args.out_dir, f'{name}.png')
        arguments = dict(boxes=boxes(image)) if boxes else {}
        print(f'{image}: {predictor.draw(image, target, **arguments)} -> {target}', flush=True)


if __name__ == '__main__':
    sys.exit(run_main(main))
