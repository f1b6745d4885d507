"""Packages, extras and the console script. The pinned set that is tested together is requirements/*.txt."""

from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = next(
    line.split("'")[1]
    for line in (ROOT / 'moganet/__init__.py').read_text().splitlines()
    if line.startswith('__version__')
)

CLS = ['onedl-mmcv>=2.3.6', 'onedl-mmpretrain>=1.3.6', 'torchvision', 'matplotlib', 'fvcore']
DET = ['onedl-mmcv>=2.3.6', 'onedl-mmdetection>=3.5.1', 'torchvision', 'matplotlib', 'pycocotools', 'fvcore']
SEG = ['onedl-mmcv>=2.3.6', 'onedl-mmsegmentation>=1.4.2', 'torchvision', 'matplotlib', 'fvcore']
# Without mmpose itself: its requirement chumpy, which it never imports, does not build. `make env` installs it.
POSE = ['onedl-mmcv>=2.3.6', 'json-tricks', 'munkres', 'scipy', 'torchvision', 'matplotlib', 'fvcore']
VIDEO = ['timm>=1.0', 'scikit-image', 'matplotlib', 'fvcore']
DEV = ['pytest', 'ruff', 'codespell', 'scikit-learn', 'scikit-image']

setup(
    name='moganet',
    version=VERSION,
    description='MogaNet (ICLR 2024) as one backbone for OpenMMLab: classification, detection, segmentation, pose, '
    '3D hand and face, video prediction',
    long_description=(ROOT / 'README.md').read_text() if (ROOT / 'README.md').exists() else '',
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    python_requires='>=3.10',
    packages=find_packages(include=['moga*']),
    package_data={'moganet.ops.cpp': ['*.cpp', '*.h']},
    install_requires=['torch>=2.6', 'onedl-mmengine>=0.10.12'],
    extras_require=dict(
        cls=CLS, det=DET, seg=SEG, pose=POSE, video=VIDEO, dev=DEV, all=sorted({*CLS, *DET, *SEG, *POSE, *VIDEO, *DEV})
    ),
    entry_points=dict(console_scripts=['moganet=moganet.commands:main']),
)
