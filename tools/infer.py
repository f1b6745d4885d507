"""Pictures of a checkpoint's predictions.

python tools/infer.py configs/cls/moganet_s.py moganet://small_1k photo.jpg folder_of_photos --out-dir predictions
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from moganet import cli
from moganet.checkpoint.runner import use_safe_loader
from moganet.config import load_config
from moganet.tasks import task_module, task_of

SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.ppm', '.pgm', '.tif', '.tiff', '.webp')


def find_images(paths: Sequence[str]) -> list[Path]:
    """The files named and, of folders, the images in them, sorted.

    Raises:
        FileNotFoundError: a path that does not exist, or a folder without images.
    """
    found = []
    for path in map(Path, paths):
        if not path.exists():
            raise FileNotFoundError(f'{path} does not exist')
        inside = sorted(p for p in path.rglob('*') if p.suffix.lower() in SUFFIXES) if path.is_dir() else [path]
        if not inside:
            raise FileNotFoundError(f'{path} holds no images ({", ".join(SUFFIXES)})')
        found += inside
    return found


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config')
    parser.add_argument('checkpoint', help='a file, an address or moganet://NAME')
    parser.add_argument('images', nargs='+', metavar='IMAGE', help='files or folders')
    parser.add_argument('--out-dir', default='predictions')
    parser.add_argument('--cfg-options', nargs='+', action=cli.OptionsAction, default={}, metavar='KEY=VALUE')
    parser.add_argument('--trust-checkpoint', action='store_true', help='load a checkpoint that can run code')
    args = parser.parse_args(argv)
    images = find_images(args.images)
    cfg = load_config(args.config, args.cfg_options)
    use_safe_loader(trust=args.trust_checkpoint)
    predictor = task_module(task_of(cfg), 'infer').Predictor(cfg, args.checkpoint)
    taken = set()
    for image in images:
        name = image.stem if image.stem not in taken else f'{image.parent.name}_{image.stem}_{len(taken)}'
        taken.add(name)
        target = Path(args.out_dir, f'{name}.png')
        print(f'{image}: {predictor.draw(image, target)} -> {target}', flush=True)


if __name__ == '__main__':
    sys.exit(cli.run(main))
