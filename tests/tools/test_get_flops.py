"""The command line of get_flops: both counters by name, the parameters, and one line for what it cannot read."""

import runpy

import pytest

from moganet.errors import run_main
from moganet.paper.metafile import CHECKOUT

main = runpy.run_path(str(CHECKOUT / 'tools/get_flops.py'))['main']


def test_get_flops_of_a_size_prints_both_counters(capsys):
    assert run_main(main, ['xtiny']) == 0
    out = capsys.readouterr().out
    assert 'parameters  2,956,066 (backbone 2,763,066)' in out
    counters = {line.split()[0]: line for line in out.splitlines() if 'GMACs' in line}
    assert list(counters) == ['mmcv', 'fvcore']
    assert "0.800 GMACs, the paper's counter; counts convolutions with their biases" in counters['mmcv']
    assert '0.786 GMACs; counts convolutions and linear layers without biases' in counters['fvcore']
    assert 'one multiply-add' in out


def test_get_flops_of_a_config_takes_its_test_size(capsys):
    assert run_main(main, [str(CHECKOUT / 'configs/cls/moganet_xt_256.py')]) == 0
    out = capsys.readouterr().out
    assert 'one image of 256x256' in out
    assert '1.044 GMACs' in out


def test_get_flops_takes_height_and_width(capsys):
    assert run_main(main, ['xtiny', '--shape', '64', '128']) == 0
    assert 'one image of 64x128' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('argv', 'message'),
    [
        (['huge'], "'huge' is no config file and no size: expected one of xtiny, tiny, small, base, large, xlarge"),
        (['configs/nowhere.py'], 'config configs/nowhere.py does not exist'),
        (['xtiny', '--shape', '0', '224'], '--shape 0 224: expected height and width in pixels'),
    ],
)
def test_get_flops_says_what_is_wrong_in_one_line(argv, message, capsys):
    assert run_main(main, argv) == 1
    err = capsys.readouterr().err
    assert message in err
    assert err.count('\n') == 1


def test_get_flops_of_a_config_of_no_task_names_the_scopes(tmp_path, capsys):
    config = tmp_path / 'ocr.py'
    config.write_text("default_scope = 'mmocr'")
    assert run_main(main, [str(config)]) == 1
    assert "default_scope is 'mmocr'" in capsys.readouterr().err
