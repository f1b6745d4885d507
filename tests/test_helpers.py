"""Helpers that other tests rely on: every case is checked, every failure is named, and no count outlives its model."""

import inspect

import pytest

from helpers import counting
from helpers.cases import failures, for_each
from mogacls import complexity


def test_failures_names_each_case_that_fails():
    def check(number, even):
        assert (number % 2 == 0) == even

    found = failures(check, [(1, True), (2, True), (3, False), (4, False)])
    assert list(found) == ['1, True', '4, False']
    assert all(error.startswith('AssertionError') for error in found.values())


def test_failures_goes_on_after_any_error():
    def check(value):
        with pytest.raises(ZeroDivisionError):
            1 / value

    assert failures(check, [0, 1, None]) == {
        '1': 'Failed: DID NOT RAISE ZeroDivisionError',
        'None': "TypeError: unsupported operand type(s) for /: 'int' and 'NoneType'",
    }


def test_for_each_leaves_fixtures_to_pytest_and_calls_every_case():
    called = []

    @for_each([(1, 'a'), (2, 'b')])
    def test(number, letter, fixture):
        called.append((number, letter, fixture))
        assert number == 1

    assert list(inspect.signature(test).parameters) == ['fixture']
    with pytest.raises(pytest.fail.Exception, match='2, b: AssertionError'):
        test(fixture=0)
    assert called == [(1, 'a', 0), (2, 'b', 0)]


def test_a_model_is_counted_once_and_a_changed_one_anew(tmp_path, monkeypatch):
    calls = []
    count = complexity.count
    monkeypatch.setattr(complexity, 'count', lambda *args: calls.append(args) or count(*args))
    cfg, counted = complexity.size_config('xtiny'), counting.cached('cls', tmp_path)
    assert counted(cfg) == counted(cfg, (224, 224)) == counting.cached('cls', tmp_path)(cfg) == count(cfg)
    assert len(calls) == 1
    cfg.model.backbone.in_channels = 1
    assert counted(cfg) == count(cfg)
    assert len(calls) == 2
