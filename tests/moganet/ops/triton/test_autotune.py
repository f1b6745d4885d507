"""Kernels are launched as Triton would, and looked up once per set of shapes, types and constants."""

import pytest
import torch

triton = pytest.importorskip('triton')
autotune = pytest.importorskip('moganet.ops.triton.autotune')


class Compiled(triton.compiler.CompiledKernel):
    """A kernel as Triton compiles it; it notes its launches."""

    def __init__(self, launches):
        self.launches = launches

    def __getitem__(self, grid):
        return lambda *args: self.launches.append((grid, args))


class Kernel:
    """A kernel that is tuned to a ``BLOCK`` of 4, and notes how often it is searched for."""

    arg_names = ('x', 'y', 'n', 'DOUBLE', 'BLOCK')
    best_config = triton.Config({'BLOCK': 4})

    def __init__(self):
        self.searches, self.launches = [], []

    def __getitem__(self, grid):
        def search(*args, **constants):
            self.searches.append((grid, args, constants))
            return Compiled(self.launches)

        return search


@pytest.fixture
def kernel(monkeypatch):
    monkeypatch.setattr(autotune, 'plans', {})
    return Kernel()


def grid(meta):
    return (8 // meta['BLOCK'],)


def test_the_second_launch_is_the_first_without_a_search(kernel):
    x, y = torch.zeros(2, 8)
    for _ in range(3):
        autotune.launch(kernel, grid, (x, None), (8,), DOUBLE=True, num_warps=4)
    assert kernel.searches == [(grid, (x, None, 8), dict(DOUBLE=True, num_warps=4))]
    assert kernel.launches == 2 * [((2, 1, 1), (x, None, 8, True, 4))]
    autotune.launch(kernel, grid, (y, None), (8,), DOUBLE=True, num_warps=4)
    assert len(kernel.searches) == 1
    assert kernel.launches[-1][1][0] is y


@pytest.mark.parametrize('change', ['type', 'none', 'number', 'constant', 'grid', 'kernel'])
def test_what_differs_is_searched_for(kernel, change):
    x, other = torch.zeros(8), Kernel()
    arguments = [kernel, (2,), (x, x), (8,)], dict(DOUBLE=True)
    autotune.launch(*arguments[0], **arguments[1])
    place, value = dict(
        type=(2, (x, x.double())),
        none=(2, (x, None)),
        number=(3, (9,)),
        constant=(1, (2,)),
        grid=(1, (3,)),
        kernel=(0, other),
    )[change]
    arguments[0][place] = value
    autotune.launch(*arguments[0], DOUBLE=change != 'constant')
    assert len(kernel.searches) + len(other.searches) == 2
    assert not kernel.launches


def test_addresses_that_are_not_aligned_are_searched_for_each_time(kernel):
    x = torch.zeros(9)
    for _ in range(2):
        autotune.launch(kernel, (1,), (x[1:], None), (8,), DOUBLE=False)
    autotune.launch(kernel, (1,), (x, None), (8,), DOUBLE=False)
    autotune.launch(kernel, (1,), (x[1:], None), (8,), DOUBLE=False)
    assert len(kernel.searches) == 4
    assert not kernel.launches


def test_plans_do_not_pile_up(kernel, monkeypatch):
    monkeypatch.setattr(autotune, 'MAX_PLANS', 3)
    for n in range(7):
        autotune.launch(kernel, (1,), (torch.zeros(8), None), (n,), DOUBLE=False)
    assert len(kernel.searches) == 7
    assert len(autotune.plans) <= 3
