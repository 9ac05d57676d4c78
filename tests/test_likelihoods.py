"""Observation models against SciPy, and what holds for all of them."""

import numpy as np
import pytest
import torch
from scipy import special, stats

from odevae.events import DENSE, SPARSE, SPIKES
from odevae.models.likelihoods import LIKELIHOODS, RAREST, LogLinkGaussian

GENERATOR = np.random.default_rng(0)
FRAMES = {
    SPIKES: GENERATOR.poisson([0.5, 3.0, 0.02], (2000, 3)),
    SPARSE: GENERATOR.gamma(2.0, [0.5, 1.0, 3.0], (2000, 3)) * (GENERATOR.random((2000, 3)) < [0.3, 0.1, 0.02]),
    DENSE: GENERATOR.normal([1.0, -2.0, 0.0], [0.5, 1.0, 2.0], (2000, 3)),
}
LOG_LINK = "dense, log link"
FRAMES[LOG_LINK] = FRAMES[DENSE]
MODELS = {**LIKELIHOODS, LOG_LINK: LogLinkGaussian}
every_kind = pytest.mark.parametrize("kind", MODELS)


def likelihood_of(kind: str):
    frames = torch.from_numpy(FRAMES[kind]).float()
    return MODELS[kind](frames), frames


@every_kind
@torch.no_grad()
def test_before_training_every_neuron_is_at_its_mean(kind):
    likelihood, frames = likelihood_of(kind)
    assert likelihood.mean(likelihood.start).numpy() == pytest.approx(frames.mean(dim=0).numpy(), rel=1e-3, abs=RAREST)
    if kind == SPARSE:
        shares = (frames > 0).float().mean(dim=0)
        assert likelihood.events(likelihood.start).numpy() == pytest.approx(shares.numpy(), rel=1e-3)


def scipy_log(kind: str, likelihood, output: np.ndarray, values: np.ndarray) -> np.ndarray:
    if kind == SPIKES:
        return stats.poisson.logpmf(values, np.exp(output)) + special.gammaln(values + 1)
    if kind in (DENSE, LOG_LINK):
        mean = output if kind == DENSE else likelihood.level.numpy() + np.exp(output)
        return stats.norm.logpdf(values, mean, likelihood.log_sd.exp().numpy()) + np.log(2 * np.pi) / 2
    log_odds, log_amplitude = np.split(output, 2, axis=-1)
    shape = likelihood.log_shape.exp().numpy()
    probability = 1 / (1 + np.exp(-log_odds))
    amplitude = stats.gamma.logpdf(np.where(values > 0, values, 1), shape, scale=np.exp(log_amplitude) / shape)
    return np.where(values > 0, np.log(probability) + amplitude, np.log1p(-probability))


@every_kind
@torch.no_grad()
def test_likelihoods_are_those_of_scipy(kind):
    likelihood, frames = likelihood_of(kind)
    output = likelihood.start + torch.randn(50, len(likelihood.start), generator=torch.Generator().manual_seed(0))
    found = -likelihood.negative_log(output, frames[:50]).numpy()
    assert found == pytest.approx(scipy_log(kind, likelihood, output.numpy(), frames[:50].numpy()), rel=1e-3, abs=1e-3)


@every_kind
def test_the_likeliest_constant_has_the_mean_of_the_data(kind):
    """Fitted by gradient, also the parameters that a likelihood learns: the maximum is where the closed form is."""
    likelihood, frames = likelihood_of(kind)
    output = (likelihood.start + 0.3).clone().requires_grad_(True)
    optimiser = torch.optim.LBFGS([output, *likelihood.parameters()], max_iter=200, line_search_fn="strong_wolfe")

    def closure():
        optimiser.zero_grad()
        loss = likelihood.negative_log(output, frames).mean()
        loss.backward()
        return loss

    optimiser.step(closure)
    assert likelihood.mean(output).detach().numpy() == pytest.approx(frames.mean(dim=0).numpy(), rel=0.02, abs=0.01)
    if kind in (DENSE, LOG_LINK):
        assert likelihood.log_sd.exp().detach().numpy() == pytest.approx(frames.std(dim=0).numpy(), rel=0.01)
    if kind == SPARSE:
        shape, _, _ = stats.gamma.fit(frames[:, 0][frames[:, 0] > 0].numpy(), floc=0)
        assert likelihood.log_shape[0].exp().item() == pytest.approx(shape, rel=0.02)


@every_kind
@torch.no_grad()
def test_draws_have_the_distribution_that_the_likelihood_says(kind):
    likelihood, _ = likelihood_of(kind)
    torch.manual_seed(0)
    drawn = likelihood.draw(likelihood.start.expand(20000, -1)).numpy().astype(float)
    mean, shares = likelihood.mean(likelihood.start).numpy(), (drawn > 0).mean(axis=0)
    assert drawn.mean(axis=0) == pytest.approx(mean, rel=0.05, abs=0.05)
    if kind == SPIKES:
        assert drawn.var(axis=0) == pytest.approx(mean, rel=0.1)
    elif kind in (DENSE, LOG_LINK):
        assert drawn.std(axis=0) == pytest.approx(likelihood.log_sd.exp().numpy(), rel=0.05)
    else:
        assert shares == pytest.approx(likelihood.events(likelihood.start).numpy(), rel=0.15)
        of_gamma = likelihood.log_shape.exp().numpy() ** -0.5
        active = [column[column > 0] for column in drawn.T]
        assert [size.std() / size.mean() for size in active] == pytest.approx(of_gamma, rel=0.1)


@every_kind
def test_extreme_outputs_stay_finite(kind):
    likelihood, frames = likelihood_of(kind)
    for extreme in (-1e4, 1e4):
        output = torch.full((4, len(likelihood.start)), extreme, requires_grad=True)
        loss = likelihood.negative_log(output, frames[:4]).sum()
        loss.backward()
        assert torch.isfinite(loss) and torch.isfinite(output.grad).all()
