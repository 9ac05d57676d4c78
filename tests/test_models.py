from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from torch import nn

from odevae.errors import OdevaeError
from odevae.models.decoders import MLPDecoder, MoEDecoder
from odevae.models.dynamics import FIELDS, MLPField, MoEField
from odevae.models.encoders import FirstFrameEncoder
from odevae.models.odevae import build
from odevae.models.presets import PRESETS, ModelSpec, model_spec

NOW = torch.tensor(0.0)


def shapes(module: nn.Module) -> list[tuple[int, int]]:
    return [(layer.in_features, layer.out_features) for layer in module.modules() if isinstance(layer, nn.Linear)]


def by_hand(x: np.ndarray, layers: nn.Sequential, activation) -> np.ndarray:
    """The chain of linear layers of `layers`, with `activation` between them."""
    linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
    for i, layer in enumerate(linear):
        x = x @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
        if i < len(linear) - 1:
            x = activation(x)
    return x


def silu(x):
    return x / (1 + np.exp(-x))


def relu(x):
    return np.maximum(x, 0)


def softmax(x):
    return np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)


def normalised(x):
    return (x - x.mean(axis=-1, keepdims=True)) / np.sqrt(x.var(axis=-1, keepdims=True) + 1e-5)


def double(module: nn.Module, seed: int = 0) -> nn.Module:
    """In double precision, with every parameter random, those that start at 0 or 1 too."""
    torch.manual_seed(seed)
    module = module.double()
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    return module


Z = torch.tensor(np.random.default_rng(0).standard_normal((5, 3)))


# Encoder


def test_encoder_layers():
    encoder = FirstFrameEncoder(7, 3)
    assert shapes(encoder) == [(7, 512), (512, 256), (256, 128), (128, 3), (128, 3)]
    observed = torch.randn(4, 6, 7)
    hidden = relu(by_hand(observed[:, 0].numpy(), encoder.body, relu))
    mean, log_variance = encoder(observed)
    np.testing.assert_allclose(
        mean.detach(), hidden @ encoder.mean.weight.detach().numpy().T + encoder.mean.bias.detach().numpy(), atol=1e-5
    )
    np.testing.assert_allclose(
        log_variance.detach(),
        hidden @ encoder.log_variance.weight.detach().numpy().T + encoder.log_variance.bias.detach().numpy(),
        atol=1e-5,
    )


def test_encoder_sees_the_first_frame_only():
    encoder = FirstFrameEncoder(7, 3)
    observed = torch.randn(4, 6, 7, requires_grad=True)
    mean, log_variance = encoder(observed)
    (mean.sum() + log_variance.sum()).backward()
    assert not observed.grad[:, 1:].any()
    assert observed.grad[:, 0].abs().min(dim=1).values.gt(0).all()


# Fields


def test_mlp_field_written_out():
    field = double(MLPField(3))
    assert shapes(field) == [(3, 128), (128, 128), (128, 3)]
    gain, offset = field.norm.weight.detach().numpy(), field.norm.bias.detach().numpy()
    expected = normalised(by_hand(Z.numpy(), field.body, silu)) * gain + offset
    np.testing.assert_allclose(field(NOW, Z).detach(), expected, atol=1e-10)


def test_moe_field_written_out():
    field = double(MoEField(3, n_experts=4))
    assert shapes(field.gate) == [(3, 128), (128, 4)]
    assert [shapes(expert) for expert in field.experts] == [[(3, 128), (128, 128), (128, 3)]] * 4
    share = softmax(by_hand(Z.numpy(), field.gate, silu))
    mixture = np.zeros((5, 3))
    for point in range(5):
        for e, expert in enumerate(field.experts):
            mixture[point] += share[point, e] * by_hand(Z.numpy()[point], expert, silu)
    expected = normalised(mixture) * field.norm.weight.detach().numpy() + field.norm.bias.detach().numpy()
    np.testing.assert_allclose(field(NOW, Z).detach(), expected, atol=1e-10)


@pytest.mark.parametrize("kind", FIELDS)
def test_layer_norm_fixes_the_speed_at_the_start_of_training(kind):
    torch.manual_seed(0)
    velocity = FIELDS[kind](5).double()(NOW, 3 * torch.randn(40, 5, dtype=torch.float64))
    np.testing.assert_allclose(velocity.mean(dim=1).detach(), 0, atol=1e-6)
    assert (velocity.var(dim=1, correction=0) > 0.8).all()
    assert (velocity.var(dim=1, correction=0) < 1.0001).all()


@pytest.mark.parametrize("kind", FIELDS)
def test_fields_do_not_depend_on_time(kind):
    field = FIELDS[kind](3).double()
    torch.testing.assert_close(field(NOW, Z), field(torch.tensor(0.7), Z), atol=0, rtol=0)


@pytest.mark.parametrize("kind", FIELDS)
def test_gradients_of_fields_against_finite_differences(kind):
    field = double(FIELDS[kind](3))
    assert torch.autograd.gradcheck(lambda z: field(NOW, z), Z[:2].clone().requires_grad_())


# Decoders


def test_mlp_decoder_written_out():
    decoder = double(MLPDecoder(3, 6))
    assert shapes(decoder) == [(3, 512), (512, 512), (512, 6)]
    np.testing.assert_allclose(decoder(Z).detach(), by_hand(Z.numpy(), decoder.body, relu), atol=1e-9)


def test_moe_decoder_written_out():
    decoder = double(MoEDecoder(3, 6))
    assert [shapes(expert) for expert in decoder.experts] == [[(3, 256), (256, 256), (256, 6)]] * 8
    share = softmax(decoder.channel_logits.detach().numpy())
    expected = np.zeros((5, 6))
    for channel in range(6):
        for e, expert in enumerate(decoder.experts):
            expected[:, channel] += share[channel, e] * by_hand(Z.numpy(), expert, relu)[:, channel]
    np.testing.assert_allclose(decoder(Z).detach(), expected, atol=1e-9)


def test_moe_decoder_starts_with_equal_shares():
    decoder = MoEDecoder(3, 6).double()
    mean = torch.stack([expert(Z) for expert in decoder.experts]).mean(dim=0)
    torch.testing.assert_close(decoder(Z), mean)


def test_gradients_of_the_moe_decoder_against_finite_differences():
    decoder = double(MoEDecoder(2, 3, n_experts=2))
    assert torch.autograd.gradcheck(decoder, Z[:2, :2].clone().requires_grad_())


@pytest.mark.parametrize("decoder", [MLPDecoder, MoEDecoder])
def test_every_state_is_decoded_by_itself(decoder):
    decoder = decoder(3, 6).double()
    path = torch.randn(4, 7, 3, dtype=torch.float64)
    np.testing.assert_allclose(
        decoder(path).detach(),
        torch.stack([torch.stack([decoder(state) for state in trial]) for trial in path]).detach(),
        atol=1e-12,
    )


# The whole


@pytest.mark.parametrize("name", PRESETS)
def test_one_pass(name):
    torch.manual_seed(0)
    model = build(PRESETS[name], n_channels=6, latent_dim=3)
    observed, times = torch.randn(4, 9, 6), torch.linspace(0, 1, 9)
    with torch.no_grad():
        output = model(observed, times, sample=False)
        mean, log_variance = model.encoder(observed)
    assert output.reconstruction.shape == (4, 9, 6)
    assert output.path.shape == (4, 9, 3)
    torch.testing.assert_close(output.posterior_mean, mean)
    torch.testing.assert_close(output.posterior_log_variance, log_variance)
    torch.testing.assert_close(output.path[:, 0], mean)
    torch.testing.assert_close(output.reconstruction, model.decoder(output.path).detach())

    with torch.no_grad():
        changed = observed.clone()
        changed[:, 1:] = 1e3
        torch.testing.assert_close(model(changed, times, sample=False).path, output.path, atol=0, rtol=0)
        changed[:, 0] += 1
        assert not torch.equal(model(changed, times, sample=False).path, output.path)


def test_a_drawn_start_is_mean_plus_sd_times_noise():
    model = build(PRESETS["v1"], n_channels=6, latent_dim=3)
    observed, times = torch.randn(4, 9, 6), torch.linspace(0, 1, 9)
    with torch.no_grad():
        torch.manual_seed(11)
        output = model(observed, times, sample=True)
        torch.manual_seed(11)
        noise = torch.randn(4, 3)
    expected = output.posterior_mean + output.posterior_log_variance.exp().sqrt() * noise
    torch.testing.assert_close(output.path[:, 0], expected)


def test_the_path_follows_the_field():
    torch.manual_seed(0)
    model = build(replace(PRESETS["v1"], solver="rk4"), n_channels=6, latent_dim=3).double()
    times = torch.linspace(0, 1, 201, dtype=torch.float64)
    with torch.no_grad():
        path = model(torch.randn(2, 201, 6, dtype=torch.float64), times, sample=False).path
        velocity = model.field(NOW, path[:, 100])
    central = (path[:, 101] - path[:, 99]) / (times[101] - times[99])
    torch.testing.assert_close(velocity, central, atol=1e-3, rtol=1e-3)


def test_parameters_of_v1_counted_by_hand():
    channels, dim = 12, 3
    encoder = (channels + 1) * 512 + 513 * 256 + 257 * 128 + 2 * 129 * dim
    field = (dim + 1) * 128 + 129 * 128 + 129 * dim + 2 * dim
    decoder = (dim + 1) * 512 + 513 * 512 + 513 * channels
    model = build(PRESETS["v1"], channels, dim)
    assert sum(p.numel() for p in model.parameters()) == encoder + field + decoder


@pytest.mark.parametrize(
    ("part", "known"),
    [("encoder", "first_frame"), ("field", "mlp, moe"), ("decoder", "mlp, moe"), ("solver", "dopri5, rk4")],
)
def test_a_part_that_does_not_exist_is_refused(part, known):
    with pytest.raises(OdevaeError, match=f"{part} 'nonsense' is unknown; use one of {known}"):
        build(replace(ModelSpec(), **{part: "nonsense"}), 4, 2)


# Presets


def test_v1_is_the_model_behind_table_1():
    assert PRESETS["v1"].as_dict() == {
        "encoder": "first_frame",
        "field": "mlp",
        "decoder": "mlp",
        "solver": "dopri5",
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
    }


def test_v5_differs_from_v1_in_its_experts_its_baseline_and_two_terms():
    v1, v5 = PRESETS["v1"].as_dict(), PRESETS["v5"].as_dict()
    assert {name: value for name, value in v5.items() if value != v1[name]} == {
        "field": "moe",
        "decoder": "moe",
        "observations": "pca-baseline",
        "lambda_transition": 0.01,
        "lambda_lle": 0.01,
    }
    model = build(PRESETS["v5"], 6, 3)
    assert (len(model.field.experts), len(model.decoder.experts)) == (4, 8)


def test_a_model_of_the_config_changes_a_preset():
    models = {"longer": {"preset": "v5", "epochs": 300}}
    assert model_spec("longer", models) == replace(PRESETS["v5"], epochs=300)
    assert models == {"longer": {"preset": "v5", "epochs": 300}}
    assert model_spec("v1", models) is PRESETS["v1"]
    assert ModelSpec(**PRESETS["v5"].as_dict()) == PRESETS["v5"]


@pytest.mark.parametrize(
    ("name", "models", "complaint"),
    [
        ("v9", {"mine": {"preset": "v1"}}, "'v9' is neither a preset nor an entry of 'models'.*v1, v5, mine"),
        ("mine", {"mine": {"preset": "v9"}}, "models.mine: preset 'v9' does not exist; use one of v1, v5"),
        ("mine", {"mine": {"preset": "v1", "epoch": 3, "beat": 1}}, "models.mine: no such setting: beat, epoch"),
    ],
)
def test_mistakes_in_models_are_named(name, models, complaint):
    with pytest.raises(OdevaeError, match=complaint):
        model_spec(name, models)


def test_every_setting_of_a_model_is_described():
    for f in fields(ModelSpec):
        assert f.name in ModelSpec.__doc__
