"""Codes that descend to a smaller misfit: the closed form of a linear decoder, and the models that use them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from odevae.benchmark.models.neural.autoencoders import RefinedTwoPartAutoencoder, TwoPartAutoencoder
from odevae.benchmark.models.neural.neural_model import Settings
from odevae.benchmark.models.refinement import PULL, refined_codes
from odevae.benchmark.models.shooting import Shooting, ShootingOneState
from odevae.data.trials import Trials
from odevae.metrics import r2_neuron
from odevae.training.shooting import HEAVY


def test_codes_of_a_linear_decoder_are_those_of_a_ridge():
    generator = torch.Generator().manual_seed(0)
    decoder = torch.randn(3, 20, generator=generator)
    values, start = torch.randn(2, 5, 20, generator=generator), torch.randn(2, 5, 3, generator=generator)
    found = refined_codes(start, lambda codes: (codes @ decoder - values).square().sum(dim=-1))
    # The minimum of |c A - x|^2 + PULL / 2 |c - s|^2.
    normal = 2 * decoder @ decoder.T + PULL * torch.eye(3)
    wanted = torch.linalg.solve(normal, (2 * values @ decoder.T + PULL * start).flatten(0, 1).T).T.unflatten(0, (2, 5))
    assert found.numpy() == pytest.approx(wanted.numpy(), abs=1e-3)


def sparse_trials(n: int, seed: int) -> Trials:
    """Forty neurons, each active in a place of a plane that a path crosses; amplitudes vary from trial to trial."""
    generator = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(0, 1, (40, 2))
    phase, speed = generator.uniform(0, 6, (n, 1)), generator.uniform(0.1, 0.3, (n, 1))
    angle = phase + speed * np.arange(30)
    place = np.stack([np.cos(angle), np.sin(2 * angle)], axis=-1)
    drive = np.exp(-8 * ((place[:, :, None] - centres) ** 2).sum(axis=-1)) * generator.uniform(0.5, 2, (n, 1, 40))
    mask = np.arange(30) < generator.integers(20, 31, n)[:, None]
    values = np.where(mask[..., None] & (drive > 0.3), drive, 0).astype(np.float32)
    return Trials(values, mask, mask, np.where(mask, np.arange(30), 0.0), np.arange(n))


TRAIN, VALIDATION, TEST = sparse_trials(60, 0), sparse_trials(16, 1), sparse_trials(16, 2)


def r2(model) -> float:
    return float(r2_neuron(TEST.values[TEST.mask], model.reconstruct(TEST)[TEST.mask]))


@pytest.mark.slow
def test_refined_codes_reconstruct_better_than_those_of_the_encoder():
    settings = Settings(steps=150, width=64)
    plain, refined = (kind(2, 0, settings) for kind in (TwoPartAutoencoder, RefinedTwoPartAutoencoder))
    for model in (plain, refined):
        model.fit(TRAIN, VALIDATION)
    assert np.array_equal(plain.infer(TEST), refined.infer(TEST))
    assert r2(refined) > r2(plain) + 0.05


@pytest.mark.slow
def test_shooting_refines_sparse_activity_and_leaves_the_field_alone_in_one_state():
    settings = (replace(HEAVY, block_frames=4, width=48, steps=100, batches=8),)
    shooting, one_state, scores = Shooting(2, 0, settings), ShootingOneState(2, 0, settings), {}
    shooting.fit(TRAIN, VALIDATION)
    # The same fit.
    for name in ("kind", "scale", "settings", "model"):
        setattr(one_state, name, getattr(shooting, name))
    for name, model in (("shooting", shooting), ("one state", one_state)):
        scores[name, "refined"] = r2(model)
        model.refines = not model.refines
        scores[name, "other way"] = r2(model)
    assert scores["shooting", "refined"] > scores["shooting", "other way"] + 0.05
    assert scores["one state", "refined"] < scores["one state", "other way"]
