"""Report on the environment: versions, mmcv's operators, device, and the command that corrects each problem.

The file imports the standard library alone and is started by its path (`make doctor`), so that it also runs where no
package is installed. It imports the packages in another process, where a crash costs one line of the report.
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
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = ROOT / 'requirements'

# {'ok': value} or {'error': one line}.
Answer = dict[str, Any]

# Import name: distribution, in the order of the report. opencv's own version number lacks the last part of its pin.
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
# Distributions that overwrite files of those above.
CONFLICTING = (
    'opencv-python',
    'opencv-contrib-python',
    'mmcv',
    'mmcv-full',
    'mmengine',
    'mmdet',
    'mmpretrain',
    'mmsegmentation',
)
# The step of the set-up that installs each file of requirements/.
STEPS = {
    'build': 'wheels',
    'runtime': 'wheels',
    'dev': 'wheels',
    'torch': 'torch',
    'openmmlab': 'openmmlab',
    'mmcv': 'mmcv',
}

# Each answer is a line of JSON, so that a crash does not lose the answers before it. MM packages are imported with the
# subpackages that the project needs.
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
    indices = nms(boxes, torch.tensor([.9, .8, .7]), .5)[1].tolist()
    if indices != [0, 2]:
        raise RuntimeError(f'nms keeps boxes {indices}, not [0, 2]')
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
    """Return the pins of the requirement files for this Python.

    Args:
        folder: The folder of the ``.txt`` files.

    Returns:
        Distribution: (version, step of the set-up that installs it).
    """
    pins = {}
    for file in sorted(folder.glob('*.txt')):
        for line in file.read_text().splitlines():
            match = re.match(r'([\w.-]+)==([\w.]+)(?:; python_version < "3\.11")?$', line)
            if match and ('python_version' not in line or sys.version_info < (3, 11)):
                pins[match[1]] = match[2], STEPS[file.stem]
    return pins


def installed_version(distribution: str) -> str | None:
    """Return the installed version of a distribution, or None."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def ask_packages(python: str) -> dict[str, Answer]:
    """Import every package in another process and run an operator of mmcv there.

    Args:
        python: The interpreter.

    Returns:
        Each of ``PACKAGES``: its version. 'ops': the CUDA version that mmcv is compiled for. 'gpus': their names.
        'kernels': whether this project's CPU kernels are compiled.
    """
    child = subprocess.run([python, '-c', PROBE, *PACKAGES], cwd=ROOT, capture_output=True, text=True)
    lines = [line.removeprefix('answer ') for line in child.stdout.splitlines() if line.startswith('answer ')]
    answers = dict(json.loads(line) for line in lines)
    for name in [*PACKAGES, 'ops', 'gpus', 'kernels']:
        answers.setdefault(name, {'error': f'Python died (status {child.returncode}) on this import or the one before'})
    return answers


def find_problems(pins: dict[str, tuple[str, str]], answers: dict[str, Answer]) -> list[tuple[str, str]]:
    """Return each problem with the command that corrects it, in the order to run them.

    Args:
        pins: As ``read_pins`` returns them.
        answers: As ``ask_packages`` returns them.
    """
    differences: dict[str, list[str]] = {}
    for distribution, (version, step) in pins.items():
        installed = installed_version(distribution)
        if installed is None or installed.split('+')[0] != version:
            text = f'{distribution} {"is missing" if installed is None else "is " + installed}, pinned is {version}'
            differences.setdefault(step, []).append(text)
    problems = []
    for name in filter(installed_version, CONFLICTING):
        step = 'wheels' if name.startswith('opencv') else 'openmmlab'
        command = f'{sys.executable} -m pip uninstall -y {name} && make env FROM={step}'
        problems.append((f'{name} is installed and writes over files of the pinned packages', command))
    for step in (step for step in dict.fromkeys(STEPS.values()) if step in differences):
        lines = differences[step]
        more = f'; and {len(lines) - 3} more' if len(lines) > 3 else ''
        problems.append(('; '.join(lines[:3]) + more, f'make env FROM={step}'))
    failures = {name: f'{name} does not import' for name in PACKAGES} | {'ops': "mmcv's ops do not load"}
    for name, failure in failures.items():
        if not problems and 'error' in answers[name]:
            command = 'make env FROM=mmcv' if name == 'ops' else 'rm -rf .venv && make env'
            problems.append((f'{failure}: {answers[name]["error"]}', command))
    if pins and Path(sys.prefix).resolve() != (ROOT / '.venv').resolve():
        return [(line, f'make env, then use {ROOT}/.venv/bin/python') for line, _ in problems]
    return problems


def describe_nvcc() -> str:
    """Return version and path of the CUDA compiler, or 'none'."""
    homes = (os.environ.get('CUDA_HOME', ''), '/usr/local/cuda')
    nvcc = next((f'{home}/bin/nvcc' for home in homes if os.access(f'{home}/bin/nvcc', os.X_OK)), shutil.which('nvcc'))
    if nvcc is None:
        return 'none'
    version = re.search(r'release (\S+),', subprocess.run([nvcc, '--version'], capture_output=True, text=True).stdout)
    return f'{version[1] if version else "of unknown version"} ({nvcc})'


def describe_machine(answers: dict[str, Answer]) -> list[tuple[str, str]]:
    """Return the rows of the report on mmcv's operators, the device and this project's CPU kernels."""
    ops, gpus = answers['ops'], answers['gpus'].get('ok')
    compiled = 'the CPU' if ops.get('ok') == 'not available' else f'CUDA {ops.get("ok")}'
    return [
        ("mmcv's ops", f'load and run, compiled for {compiled}' if 'ok' in ops else f'do not load: {ops["error"]}'),
        ('device', ', '.join(gpus) if gpus else 'CPU only'),
        ('CPU kernels', 'compiled' if answers['kernels'].get('ok') else 'not compiled: moganet kernels does it'),
    ]


def main() -> int:
    """Print the report and return the exit code: 0 if there is no problem, else 1."""
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
