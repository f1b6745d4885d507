"""A user's own hands, as in configs/expose/README.md: write HumanData, train, predict."""

import re

import cv2
import numpy as np
import pytest

from helpers.tool_runs import ROOT, call, run_tool
from mogapose.expose.mini.synthetic_body_models import FILES

README = (ROOT / 'configs/expose/README.md').read_text()
TINY = """
model = dict(
    backbone=dict(
        arch=dict(_delete_=True, embed_dims=(8, 16, 24, 32), depths=(1, 1, 1, 1), ffn_ratios=(2, 2, 2, 2)),
        init_cfg=None),
    head=dict(in_channels=32), body_model=dict(path={mano!r}))
train_cfg = dict(max_epochs=1)
"""
COUNT = 4
LOADER = (
    'train_dataloader.batch_size=2',
    'train_dataloader.num_workers=0',
    'train_dataloader.persistent_workers=False',
)


def block(word):
    """Return the README's Python block that contains ``word``."""
    (text,) = [text for text in re.findall(r'```python\n(.*?)```', README, re.DOTALL) if word in text]
    return text


@pytest.fixture
def hands(tmp_path, monkeypatch, body_models):
    """The files of the README, with key points and poses, in a new folder, which becomes the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'data/hands/images').mkdir(parents=True)
    images = [f'{i}.png' for i in range(COUNT)]
    random = np.random.default_rng(0)
    for name in images:
        cv2.imwrite(f'data/hands/images/{name}', random.integers(256, size=(80, 100, 3), dtype=np.uint8))
    names = dict(
        images=images,
        boxes=np.tile((10, 10, 70, 60), (COUNT, 1)),
        points=np.concatenate((random.uniform(10, 70, (COUNT, 21, 2)), np.ones((COUNT, 21, 1))), 2),
        orient=random.normal(size=(COUNT, 1, 3)),
        pose=random.normal(size=(COUNT, 15, 3)) / 3,
    )
    text = block("_base_ = 'hand_moganet_t.py'").replace("'hand_mog", f"'{ROOT}/configs/expose/hand_mog")
    (tmp_path / 'hands.py').write_text(text + TINY.format(mano=str(body_models / FILES['mano'])))
    return names


@pytest.mark.parametrize('poses', [True, False])
def test_own_hands_are_trained_on_and_predicted_as_in_the_readme(poses, hands, capsys):
    text = block('write_human_data(')
    text = text if poses else re.sub(r'    smplx=.*\n', '', text)
    exec(compile(text, 'README.md', 'exec'), hands)  # noqa: S102  the documented call
    assert run_tool('train', 'hands.py', '--cfg-options', *LOADER) == 0
    capsys.readouterr()
    call('infer', 'hands.py', 'work_dirs/hands/epoch_1.pth', 'data/hands/images/0.png', '--out-dir', 'found')
    picture = cv2.imread('found/0.png')
    assert picture is not None
    assert picture.std() > 1
