from dataclasses import fields, replace
from itertools import pairwise

import pytest
import torch

from odevae.errors import OdevaeError
from odevae.models.odevae import build
from odevae.models.presets import PRESETS, ModelSpec, model_spec

NOW = torch.tensor(0.0)
LENGTHS = [9, 5, 7, 9]
MASK = torch.arange(9) < torch.tensor(LENGTHS)[:, None]


# The whole


@pytest.mark.parametrize("name", PRESETS)
def test_one_pass(name):
    torch.manual_seed(0)
    model = build(PRESETS[name], n_channels=6, latent_dim=3).eval()
    observed, times = torch.randn(4, 9, 6), torch.linspace(0, 1, 9)
    with torch.no_grad():
        output = model(observed, MASK, times, sample=False)
        mean, log_variance = model.encoder(observed, MASK)
        assert output.reconstruction.shape == (4, 9, 6)
        assert output.path.shape == (4, 9, 3)
        torch.testing.assert_close(output.posterior_mean, mean)
        torch.testing.assert_close(output.posterior_log_variance, log_variance)
        torch.testing.assert_close(output.path[:, 0], mean)
        torch.testing.assert_close(output.reconstruction, model.decoder(output.path))

        # Every preset sees the first frame only.
        changed = observed.clone()
        changed[:, 1:] = 1e3
        torch.testing.assert_close(model(changed, MASK, times, sample=False).path, output.path, atol=0, rtol=0)
        changed[:, 0] += 1
        assert not torch.equal(model(changed, MASK, times, sample=False).path, output.path)


@pytest.mark.parametrize("second_order", [False, True])
def test_a_drawn_start_is_mean_plus_sd_times_noise(second_order):
    model = build(replace(PRESETS["v1"], second_order=second_order), n_channels=6, latent_dim=3)
    observed, times = torch.randn(4, 9, 6), torch.linspace(0, 1, 9)
    with torch.no_grad():
        torch.manual_seed(11)
        output = model(observed, MASK, times, sample=True)
        torch.manual_seed(11)
        noise = torch.randn_like(output.posterior_mean)
    expected = output.posterior_mean + output.posterior_log_variance.exp().sqrt() * noise
    torch.testing.assert_close(output.path[:, 0], expected[:, :3])


@pytest.mark.parametrize("time_dependent", [False, True])
def test_the_path_follows_the_field(time_dependent):
    torch.manual_seed(0)
    spec = replace(PRESETS["v1"], solver="rk4", time_dependent=time_dependent)
    model = build(spec, n_channels=6, latent_dim=3).double()
    times, mask = torch.linspace(0, 1, 201, dtype=torch.float64), torch.ones(2, 201, dtype=torch.bool)
    with torch.no_grad():
        path = model(torch.randn(2, 201, 6, dtype=torch.float64), mask, times, sample=False).path
        velocity = model.field(times[100], path[:, 100])
    central = (path[:, 101] - path[:, 99]) / (times[101] - times[99])
    torch.testing.assert_close(velocity, central, atol=1e-3, rtol=1e-3)


def test_a_second_order_path_starts_with_the_velocity_that_was_encoded():
    torch.manual_seed(0)
    model = build(replace(PRESETS["v3"], solver="rk4", second_order=True), n_channels=6, latent_dim=3).double()
    times, mask = torch.linspace(0, 1, 401, dtype=torch.float64), torch.ones(2, 401, dtype=torch.bool)
    with torch.no_grad():
        output = model(torch.randn(2, 401, 6, dtype=torch.float64), mask, times, sample=False)
        acceleration = model.field.acceleration(NOW, output.posterior_mean)
    assert output.posterior_mean.shape == output.posterior_log_variance.shape == (2, 6)
    # Places only, which is what is decoded and what the losses see.
    assert output.path.shape == (2, 401, 3)
    torch.testing.assert_close(output.path[:, 0], output.posterior_mean[:, :3])
    step = times[1]
    first = (-3 * output.path[:, 0] + 4 * output.path[:, 1] - output.path[:, 2]) / (2 * step)
    second = (output.path[:, 0] - 2 * output.path[:, 1] + output.path[:, 2]) / step**2
    torch.testing.assert_close(first, output.posterior_mean[:, 3:], atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(second, acceleration, atol=5e-2, rtol=5e-2)


def test_an_encoder_of_the_whole_trial_sees_counted_bins_only():
    torch.manual_seed(0)
    model = build(replace(PRESETS["v1"], encoder="gru"), n_channels=6, latent_dim=3).eval()
    observed, times = torch.randn(4, 9, 6), torch.linspace(0, 1, 9)
    with torch.no_grad():
        path = model(observed, MASK, times, sample=False).path
        padding = torch.where(MASK[..., None], observed, 50.0)
        torch.testing.assert_close(model(padding, MASK, times, sample=False).path, path)
        later = observed.clone()
        later[torch.arange(4), torch.tensor(LENGTHS) - 1] += 1
        assert (model(later, MASK, times, sample=False).path - path).abs().amax(dim=(1, 2)).min() > 1e-4


def chain(*sizes: int) -> int:
    """Parameters of linear layers one after another."""
    return sum((a + 1) * b for a, b in pairwise(sizes))


def n_parameters(name: str, n_channels: int, latent_dim: int) -> int:
    return sum(p.numel() for p in build(PRESETS[name], n_channels, latent_dim).parameters())


def test_parameters_of_v1_counted_by_hand():
    encoder = chain(12, 512, 256, 128) + 2 * chain(128, 3)
    field = chain(3, 128, 128, 3) + 2 * 3
    decoder = chain(3, 512, 512, 12)
    assert n_parameters("v1", 12, 3) == encoder + field + decoder


def test_parameters_of_v5_counted_by_hand():
    # 129 components of E65, 5 latent dimensions (section 6.1).
    encoder = (130 * 512 + 513 * 256 + 257 * 128) + 2 * 129 * 5
    gate = 6 * 128 + 129 * 4
    field = 4 * (6 * 128 + 129 * 128 + 129 * 5) + gate + 2 * 5
    decoder = 8 * (6 * 256 + 257 * 256 + 257 * 129) + 129 * 8
    assert (encoder, field, decoder) == (232_074, 72_994, 804_880)
    assert n_parameters("v5", 129, 5) == 1_109_948


@pytest.mark.parametrize(
    ("part", "known"),
    [
        ("encoder", "first_frame, gru, transformer, attention"),
        ("field", "mlp, gated, moe"),
        ("decoder", "mlp, narrow_mlp, neuron_aware, local_attention, moe"),
        ("solver", "dopri5, rk4, rk4_dense"),
    ],
)
def test_a_part_that_does_not_exist_is_refused(part, known):
    with pytest.raises(OdevaeError, match=f"{part} 'nonsense' is unknown; use one of {known}"):
        build(replace(ModelSpec(), **{part: "nonsense"}), 4, 2)


# Presets: shared/reference/variants.md as data

V1 = {
    "encoder": "first_frame",
    "field": "mlp",
    "decoder": "mlp",
    "time_dependent": False,
    "second_order": False,
    "solver": "rk4_dense",
    "observations": "pca",
    "epochs": 150,
    "batch_size": 8,
    "learning_rate": 2e-3,
    "weight_decay": 1e-5,
    "beta": 0.02,
    "beta_warmup_epochs": 30,
    "lambda_transition": 0.0,
    "transition_warmup_epochs": 30,
    "lambda_lle": 0.0,
    "validation_space": "pca",
    "patience": 0,
    # The paper has none of the cures against collapse.
    "time_constant": 0.0,
    "field_start": 1.0,
    "learning_rate_warmup_epochs": 0,
    "learning_rate_end": 1.0,
    "horizon_start": 1.0,
    "horizon_epochs": 0,
    "skip_steps": 0,
    "weight_average": 0.0,
    "select_by": "r2",
    "patience_after_warmup": False,
}
V3 = V1 | {"field": "moe", "observations": "pca-baseline"}
V5 = V3 | {"decoder": "moe", "lambda_transition": 0.01, "lambda_lle": 0.01}
SPECIFIED = {
    "v1": V1,
    "v2": V1 | {"field": "gated", "decoder": "narrow_mlp"},
    "v3": V3,
    "v4": V3 | {"decoder": "local_attention"},
    "v5": V5,
    "v6": V5 | {"observations": "neurons-baseline"},
}


def test_presets_are_what_is_specified():
    assert {name: preset.as_dict() for name, preset in PRESETS.items()} == SPECIFIED


def test_experts_of_the_presets():
    models = {name: build(preset, 6, 3) for name, preset in PRESETS.items()}
    counts = {name: len(model.field.experts.weights[0]) for name, model in models.items() if name != "v1"}
    assert counts == {"v2": 3, "v3": 4, "v4": 4, "v5": 4, "v6": 4}
    assert len(models["v5"].decoder.experts.weights[0]) == len(models["v6"].decoder.experts.weights[0]) == 8


def test_a_model_of_the_config_changes_a_preset():
    models = {"longer": {"preset": "v5", "epochs": 300}}
    assert model_spec("longer", models) == replace(PRESETS["v5"], epochs=300)
    assert models == {"longer": {"preset": "v5", "epochs": 300}}
    assert model_spec("v1", models) is PRESETS["v1"]
    assert ModelSpec(**PRESETS["v5"].as_dict()) == PRESETS["v5"]


@pytest.mark.parametrize(
    ("name", "models", "complaint"),
    [
        (
            "v9",
            {"mine": {"preset": "v1"}},
            "'v9' is neither a preset nor an entry of 'models'.*v1, v2, v3, v4, v5, v6, shooting, mine",
        ),
        (
            "mine",
            {"mine": {"preset": "v9"}},
            "models.mine: preset 'v9' does not exist; use one of v1, v2, v3, v4, v5, v6, shooting",
        ),
        ("mine", {"mine": {"preset": "v1", "epoch": 3, "beat": 1}}, "models.mine: no such setting: beat, epoch"),
    ],
)
def test_mistakes_in_models_are_named(name, models, complaint):
    with pytest.raises(OdevaeError, match=complaint):
        model_spec(name, models)


def test_every_setting_of_a_model_is_described():
    for f in fields(ModelSpec):
        assert f.name in ModelSpec.__doc__
