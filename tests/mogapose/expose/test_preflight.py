"""Checks of ExPose's configs against the data on disk, before models are built."""

import shutil

import numpy as np
import pytest
from mmengine.config import Config

import mogapose.expose  # noqa: F401  registers
from helpers.tool_runs import ROOT
from moganet.run.config import load_config
from moganet.run.preflight import check_data
from mogapose.expose.preflight import check_expose

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


@pytest.fixture
def data(freihand, body_models, tmp_path):
    """The layout that the hand recipe expects, below one folder."""
    shutil.copytree(freihand.out, tmp_path / 'data/preprocessed_datasets')
    shutil.copytree(freihand.source, tmp_path / 'data/datasets/FreiHand')
    return tmp_path / 'data'


def hand_config(data, body_models) -> Config:
    path = body_models / 'mano/MANO_RIGHT.pkl'
    return load_config(
        ROOT / 'configs/expose/hand_moganet_t.py', {'data_root': str(data), 'model.body_model.path': str(path)}
    )


def error_of(cfg, loaders=LOADERS) -> str:
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        check_data(cfg, loaders)
    text = str(caught.value)
    assert '\n' not in text
    assert len(text) < 500
    return text


def test_a_recipe_with_its_data_passes(data, body_models):
    check_data(hand_config(data, body_models), LOADERS)


def test_a_missing_root_shows_the_layout(tmp_path, body_models):
    text = error_of(hand_config(tmp_path / 'no', body_models))
    assert "no' of train_dataloader does not exist; expected there: preprocessed_datasets/*.npz (HumanData; " in text


def test_only_the_loaders_in_use_are_looked_at(data, body_models):
    (data / 'preprocessed_datasets/freihand_train.npz').unlink()
    cfg = hand_config(data, body_models)
    text = error_of(cfg)
    assert 'freihand_train.npz: no such file of HumanData; tools/convert_expose_data.py writes them' in text
    check_data(cfg, ('test_dataloader',))


def test_a_file_that_is_none_is_found_out(data, body_models):
    (data / 'preprocessed_datasets/freihand_val.npz').write_text('<html>')
    assert 'freihand_val.npz: not a readable .npz' in error_of(hand_config(data, body_models))
    shutil.copy(body_models / 'mano/MANO_RIGHT.npz', data / 'preprocessed_datasets/freihand_val.npz')
    text = error_of(hand_config(data, body_models))
    assert 'freihand_val.npz: has no image_path, but J_regressor, ' in text
    assert 'is it HumanData?' in text


def test_a_missing_body_model_says_where_it_comes_from(data, tmp_path):
    text = error_of(hand_config(data, tmp_path))
    assert 'MANO_RIGHT.pkl: no such file. It is licensed: register at https://mano.is.tue.mpg.de' in text


def test_data_of_another_part_than_the_model(data, body_models):
    cfg = hand_config(data, body_models)
    cfg.val_dataloader.dataset.convention = 'flame'
    text = error_of(cfg)
    assert "val_dataloader.dataset.convention is 'flame', and the body model of the config is MANO, right hand" in text
    assert "expected 'mano'" in text


def test_a_test_set_without_the_truth_of_its_metric(data, body_models):
    """Files as MMHuman3D writes them are refused before an epoch is trained; predictions alone need no truth."""
    path = data / 'preprocessed_datasets/freihand_test.npz'
    with np.load(path, allow_pickle=True) as archive:
        np.savez(path, **{name: archive[name] for name in archive if not name.startswith('gt_')})
    cfg = hand_config(data, body_models)
    assert 'freihand_test.npz: has no gt_vertices, with which HandMeshMetric compares; tools/' in error_of(cfg)
    check_data(cfg, ('train_dataloader', 'val_dataloader'))
    cfg.test_evaluator = [dict(type='mogapose.FaceScanMetric')]
    assert 'freihand_test.npz: has no subject or vertices, with which FaceScanMetric compares' in error_of(cfg)
    cfg.test_evaluator = []
    check_data(cfg, LOADERS)


def test_configs_of_other_tasks_are_left_alone(tmp_path):
    dataset = dict(type='HumanDataDataset', data_root=str(tmp_path), ann_file='no.npz')
    cfg = Config(dict(default_scope='mmpose', train_dataloader=dict(dataset=dataset)))
    check_expose(cfg, LOADERS)
    cfg.default_scope = 'mogapose'
    with pytest.raises(FileNotFoundError, match=r'no\.npz'):
        check_expose(cfg, LOADERS)
