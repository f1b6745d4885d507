"""Looks at the environment: versions, whether mmcv's ops load, CPU or GPU, and the command that mends what is wrong.

Standard library only and started by path (`make doctor`), because it must also speak where nothing is installed. The
packages are imported in another process: an import that crashes is then one line of the report.
"""

import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = ROOT / 'requirements'

# Import name to distribution, in the order of the report. opencv's own version number lacks the last part of its pin.
PACKAGES = {
    'torch': 'torch',
    'torchvision': 'torchvision',
    'numpy': 'numpy',
    'cv2': 'opencv-python-headless',
    'mmengine': 'onedl-mmengine',
    'mmcv': 'onedl-mmcv',
    'mmpretrain': 'onedl-mmpretrain',
    'mmdet': 'onedl-mmdetection',
    'mmseg': 'onedl-mmsegmentation',
    'mmpose': 'mmpose',
}
# Distributions that write over the files of those above.
RIVALS = (
    'opencv-python',
    'opencv-contrib-python',
    'mmcv',
    'mmcv-full',
    'mmengine',
    'mmdet',
    'mmpretrain',
    'mmsegmentation',
)
# The steps of the set-up that install each list.
STEPS = {
    'build': 'wheels',
    'runtime': 'wheels',
    'dev': 'wheels',
    'torch': 'torch',
    'openmmlab': 'openmmlab',
    'mmcv': 'mmcv',
}

# One line of JSON per answer, so that those before a crash are kept. The package is imported as the project does.
PROBE = """
import importlib, json, sys, warnings
warnings.simplefilter('ignore')
def ask(name, question):
    try:
        answer = dict(ok=question())
    except BaseException as error:
        answer = dict(error=f'{type(error).__name__}: {error}'.splitlines()[0][:200])
    print('answer', json.dumps([name, answer]), flush=True)
def version(name):
    module = importlib.import_module(name)
    for part in ('models', 'datasets', 'evaluation'):
        if name in ('mmpretrain', 'mmdet', 'mmseg', 'mmpose'):
            importlib.import_module(f'{name}.{part}')
    return module.__version__
def nms():
    import torch
    from mmcv.ops import nms
    boxes = torch.tensor([[0., 0., 10., 10.], [0., 0., 10., 9.], [20., 20., 30., 30.]])
    kept = nms(boxes, torch.tensor([.9, .8, .7]), .5)[1].tolist()
    if kept != [0, 2]:
        raise RuntimeError(f'nms keeps boxes {kept}, not [0, 2]')
    from mmcv.ops import get_compiling_cuda_version
    return get_compiling_cuda_version()
def gpus():
    import torch
    return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count() * torch.cuda.is_available())]
def kernels():
    from moganet.ops.cpp import library
    return library.load() is not None
for name in sys.argv[1:]:
    ask(name, lambda: version(name))
ask('ops', nms)
ask('gpus', gpus)
ask('kernels', kernels)
"""


def read_pins(folder: Path) -> dict[str, tuple[str, str]]:
    """What the requirement files pin for this Python: distribution to version and the step that installs it."""
    pins = {}
    for file in sorted(folder.glob('*.txt')):
        for line in file.read_text().splitlines():
            if match := re.match(r'([\w.-]+)==([\w.]+)(?:; python_version < "3\.11")?$', line):
                if 'python_version' not in line or sys.version_info < (3, 11):
                    pins[match[1]] = match[2], STEPS[file.stem]
    return pins


def installed_version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def ask_packages(python: str) -> dict[str, dict]:
    """Imports every package in another process. Each answer is {'ok': version} or {'error': one line}."""
    child = subprocess.run([python, '-c', PROBE, *PACKAGES], cwd=ROOT, capture_output=True, text=True)
    lines = [line.removeprefix('answer ') for line in child.stdout.splitlines() if line.startswith('answer ')]
    answers = dict(json.loads(line) for line in lines)
    for name in [*PACKAGES, 'ops', 'gpus', 'kernels']:
        answers.setdefault(name, {'error': f'Python died (status {child.returncode}) on this import or the one before'})
    return answers


def find_problems(pins: dict[str, tuple[str, str]], answers: dict[str, dict]) -> list[tuple[str, str]]:
    """What is wrong, as pairs of one line and the command that mends it, in the order to mend them."""
    differences: dict[str, list[str]] = {}
    for distribution, (version, step) in pins.items():
        found = installed_version(distribution)
        if found is None or found.split('+')[0] != version:
            text = f'{distribution} {"is missing" if found is None else "is " + found}, pinned is {version}'
            differences.setdefault(step, []).append(text)
    problems = []
    for rival in filter(installed_version, RIVALS):
        step = 'wheels' if rival.startswith('opencv') else 'openmmlab'
        mend = f'{sys.executable} -m pip uninstall -y {rival} && make env FROM={step}'
        problems.append((f'{rival} is installed and writes over files of the pinned packages', mend))
    for step in (step for step in dict.fromkeys(STEPS.values()) if step in differences):
        lines = differences[step]
        more = f'; and {len(lines) - 3} more' if len(lines) > 3 else ''
        problems.append(('; '.join(lines[:3]) + more, f'make env FROM={step}'))
    for name, what in {
        **{name: f'{name} does not import' for name in PACKAGES},
        'ops': "mmcv's ops do not load",
    }.items():
        if not problems and 'error' in answers[name]:
            mend = 'make env FROM=mmcv' if name == 'ops' else 'rm -rf .venv && make env'
            problems.append((f'{what}: {answers[name]["error"]}', mend))
    if pins and Path(sys.prefix).resolve() != ROOT / '.venv':
        return [(line, f'make env, then use {ROOT}/.venv/bin/python') for line, _ in problems]
    return problems


def describe_nvcc() -> str:
    places = (os.environ.get('CUDA_HOME', ''), '/usr/local/cuda')
    found = next(
        (f'{home}/bin/nvcc' for home in places if os.access(f'{home}/bin/nvcc', os.X_OK)), shutil.which('nvcc')
    )
    if found is None:
        return 'none'
    version = re.search(r'release (\S+),', subprocess.run([found, '--version'], capture_output=True, text=True).stdout)
    return f'{version[1] if version else "of unknown version"} ({found})'


def describe_machine(answers: dict[str, dict]) -> list[tuple[str, str]]:
    ops, gpus = answers['ops'], answers['gpus'].get('ok')
    compiled = {'not available': 'the CPU'}.get(ops.get('ok'), f'CUDA {ops.get("ok")}')
    return [
        ("mmcv's ops", f'load and run, compiled for {compiled}' if 'ok' in ops else f'do not load: {ops["error"]}'),
        ('device', ', '.join(gpus) if gpus else 'CPU only'),
        ('CPU kernels', 'compiled' if answers['kernels'].get('ok') else 'not compiled: moganet kernels does it'),
    ]


def main() -> int:
    """Prints the report. Returns 0 if all is well, else 1."""
    rows = [('Python', f'{platform.python_version()}  {sys.executable}'), ('nvcc', describe_nvcc())]
    rows.append(('free disk', f'{shutil.disk_usage(ROOT).free / 1e9:.0f} GB in {ROOT}'))
    pins = read_pins(REQUIREMENTS)
    if pins and importlib.util.find_spec('torch') is None:
        problems = [('torch is not installed here: the environment is not set up, or not whole', 'make env')]
    else:
        answers = ask_packages(sys.executable)
        rows += [(name, answers[name].get('ok', 'does not import')) for name in PACKAGES] + describe_machine(answers)
        problems = find_problems(pins, answers)
        if answers['gpus'].get('ok') and answers['ops'].get('ok') == 'not available':
            rows.append(('note', "torch sees a GPU; to compile mmcv's ops for it (needs nvcc): make env FROM=mmcv"))
    for name, text in rows:
        print(f'{name:<12} {text}')
    for line, command in problems:
        print(f'\nTo mend: {line}\n    {command}')
    if not problems:
        print('\nAll is well.')
    return 1 if problems else 0


if __name__ == '__main__':
    sys.exit(main())
