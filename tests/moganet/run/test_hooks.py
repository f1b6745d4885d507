"""The hooks that every run has."""

import random
from types import SimpleNamespace

import numpy as np
import torch
from torch.utils.data import DataLoader

from moganet.run.hooks import PlainSchedulers, PrintProgress, SeedEachIteration


def draw():
    return random.random(), np.random.rand(), torch.rand(1).item()


def runner(seed, iteration=0, **more):
    return SimpleNamespace(seed=seed, iter=iteration, train_dataloader=DataLoader([1, 2, 3]), **more)


def test_random_numbers_depend_on_seed_and_iteration_alone():
    hook = SeedEachIteration()

    def numbers(seed, iteration):
        hook.before_train_iter(runner(seed, iteration), 0)
        return draw()

    first = numbers(1, 5)
    assert numbers(1, 5) == first
    assert len({numbers(seed, i) for seed in (1, 2) for i in range(5)}) == 10


def test_loading_starts_alike_after_an_iteration_a_validation_and_a_resume():
    hook = SeedEachIteration()
    hook.after_train_iter(runner(3, 7), 0)
    after_iteration = draw()
    hook.after_val_epoch(runner(3, 8))
    after_validation = draw()
    hook.before_train_epoch(runner(3, 8))
    assert after_iteration == after_validation == draw()
    hook.before_train_iter(runner(3, 8), 0)
    assert after_iteration != draw()  # computing draws its own numbers


def test_starting_a_loader_draws_nothing_from_the_runs_numbers():
    hook = SeedEachIteration()
    here = runner(3)
    hook.before_train(here)
    state = torch.get_rng_state()
    assert len(list(here.train_dataloader)) == 3
    assert torch.equal(torch.get_rng_state(), state)


def test_ranks_draw_different_numbers(monkeypatch):
    drawn = []
    for rank in (0, 1):
        monkeypatch.setattr('moganet.run.hooks.get_rank', lambda rank=rank: rank)
        SeedEachIteration().before_train_iter(runner(3, 7), 0)
        drawn.append(draw())
    assert drawn[0] != drawn[1]


def test_schedulers_save_data_only():
    states = [{'last_step': 3, 'anneal_func': abs}, {'base_values': [1.0]}]
    checkpoint = {'param_schedulers': {'a': states}}
    PlainSchedulers().before_save_checkpoint(None, checkpoint)
    assert checkpoint == {'param_schedulers': {'a': [{'last_step': 3}, {'base_values': [1.0]}]}}
    PlainSchedulers().before_save_checkpoint(None, {})


def test_progress_says_where_it_is_and_how_long_is_left(monkeypatch, capsys):
    clock = iter([100.0, 110.0, 120.0])
    monkeypatch.setattr('moganet.run.hooks.time.monotonic', lambda: next(clock))
    hook = PrintProgress('accuracy/top1', lines_per_epoch=2)
    here = runner(0, max_iters=8, max_epochs=2)
    hook.before_train(here)
    for here.iter in range(4):
        hook.after_train_iter(here, 0, outputs={'loss': torch.tensor(1.5, requires_grad=True)})
    hook.after_val_epoch(here, {'accuracy/top1': 97.123})
    assert capsys.readouterr().out.splitlines() == [
        'iteration 2/8  loss 1.500  left 0:30',  # 10 s for 2, 6 to go
        'iteration 4/8  loss 1.500  left 0:20',
        '  evaluation: accuracy/top1 97.12',
    ]
