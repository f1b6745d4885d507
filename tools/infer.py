"""Pictures of a checkpoint's predictions.

python tools/infer.py configs/cls/moganet_s.py moganet://small_1k photo.jpg folder_of_photos --out-dir predictions

Pose needs a box for each person, ExPose one for each hand, face or body: from a file, from a detector, else the whole
image shows one.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from moganet import fuse
from moganet.checkpoint.runner import use_safe_loader
from moganet.errors import run_main
from moganet.run.arguments import OptionsAction
from moganet.run.config import load_config
from moganet.run.tasks import Task, find_task, task_of

BOX_OPTIONS = ('boxes', 'det_config', 'det_checkpoint', 'det_class')


def find_boxes(args: argparse.Namespace, task: Task, subject: str) -> Callable[[Path], object] | None:
    """What tells the boxes of an image, as the options say; None if there are none.

    Args:
        args: The options.
        task: Of the config.
        subject: What there is to be in a box: the class that is taken unless an option says otherwise.

    Raises:
        ValueError: they do not fit the task or each other, or what they name cannot be used.
        FileNotFoundError: a file that they name is not there.
    """
    given = [name for name in BOX_OPTIONS if getattr(args, name) is not None]
    if given and not task.takes_boxes:
        raise ValueError(
            f'--{given[0].replace("_", "-")} is for pose and expose, {args.config} is of task {task.name!r}'
        )
    from mogapose import boxes

    if args.boxes and len(given) > 1:
        raise ValueError('--boxes and a detector: expected one of them')
    if args.boxes:
        return boxes.from_json(args.boxes, subject)
    if not given:
        return None
    if not (args.det_config and args.det_checkpoint):
        raise ValueError('a detector needs both --det-config and --det-checkpoint')
    detector = find_task('det').predictor(load_config(args.det_config), args.det_checkpoint)
    return boxes.from_detector(detector, args.det_class or subject)


def main(argv: Sequence[str] | None = None) -> None:
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
    boxed = parser.add_argument_group('pose and expose')
    boxed.add_argument(
        '--boxes',
        metavar='FILE.json',
        help='COCO annotations or a list of detections (image_id or file_name, bbox, score)',
    )
    boxed.add_argument('--det-config', metavar='CONFIG', help='a detection config')
    boxed.add_argument('--det-checkpoint', metavar='CHECKPOINT', help='its weights')
    boxed.add_argument(
        '--det-class', metavar='NAME', help='the class whose boxes are taken (default: person, hand or face)'
    )
    args = parser.parse_args(argv)
    cfg = load_config(args.config, args.cfg_options)
    use_safe_loader(trust=args.trust_checkpoint)
    task = find_task(task_of(cfg))
    images = task.find_inputs(args.images)
    boxes = find_boxes(args, task, task.box_subject(cfg))
    predictor = task.predictor(cfg, args.checkpoint)
    if args.fuse:
        predictor.model = fuse(predictor.model)
    taken = set()
    for image in images:
        name = image.stem if image.stem not in taken else f'{image.parent.name}_{image.stem}_{len(taken)}'
        taken.add(name)
        target = Path(args.out_dir, f'{name}.png')
        extra = dict(boxes=boxes(image)) if boxes else {}
        print(f'{image}: {predictor.draw(image, target, **extra)} -> {target}', flush=True)


if __name__ == '__main__':
    sys.exit(run_main(main))
