import numpy as np
import pytest
import torch
from scipy.special import expit, softmax
from written_out import array, chain, check_parameter_gradients, double, layer_norm, linear, relu, shapes

from odevae.models.encoders import (
    ENCODERS,
    AttentionEncoder,
    FirstFrameEncoder,
    GRUEncoder,
    TransformerEncoder,
    positions,
)

WHOLE_TRIAL = ["gru", "transformer", "attention"]
LENGTHS = [9, 1, 4, 6]
OBSERVED = torch.tensor(np.random.default_rng(1).standard_normal((4, 9, 7)))
MASK = torch.arange(9) < torch.tensor(LENGTHS)[:, None]


def summaries(encoder) -> np.ndarray:
    return array(encoder.summary(OBSERVED, MASK))


@pytest.fixture(params=["training", "scoring"])
def mode(request):
    """Both ways in which a model is called: with gradients, and without in evaluation mode (where PyTorch has other
    code for transformers)."""
    if request.param == "training":
        yield lambda encoder: encoder.train()
    else:
        with torch.no_grad():
            yield lambda encoder: encoder.eval()


# Every encoder


@pytest.mark.parametrize("kind", ENCODERS)
def test_mean_and_log_variance_are_linear_in_the_summary(kind):
    encoder = double(ENCODERS[kind](7, 3), sd=0.1)
    summary = summaries(encoder)
    mean, log_variance = encoder(OBSERVED, MASK)
    assert mean.shape == log_variance.shape == (4, 3)
    np.testing.assert_allclose(array(mean), linear(summary, encoder.mean), atol=1e-10)
    np.testing.assert_allclose(array(log_variance), linear(summary, encoder.log_variance), atol=1e-10)


@pytest.mark.parametrize("kind", ENCODERS)
def test_padding_never_matters(kind, mode):
    encoder = mode(double(ENCODERS[kind](7, 3), sd=0.1))
    expected = encoder(OBSERVED, MASK)
    changed = torch.where(MASK[..., None], OBSERVED, 1e3 * torch.randn_like(OBSERVED))
    torch.testing.assert_close(encoder(changed, MASK), expected, atol=1e-12, rtol=1e-12)
    more = torch.cat([changed, torch.full((4, 5, 7), -3.0, dtype=torch.float64)], dim=1)
    more_mask = torch.cat([MASK, torch.zeros(4, 5, dtype=torch.bool)], dim=1)
    torch.testing.assert_close(encoder(more, more_mask), expected, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("kind", ENCODERS)
def test_a_trial_is_encoded_as_if_alone(kind, mode):
    encoder = mode(double(ENCODERS[kind](7, 3), sd=0.1))
    mean, log_variance = encoder(OBSERVED, MASK)
    for i, n in enumerate(LENGTHS):
        alone = encoder(OBSERVED[i : i + 1, :n], MASK[i : i + 1, :n])
        torch.testing.assert_close(alone, (mean[i : i + 1], log_variance[i : i + 1]), atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("kind", ENCODERS)
def test_which_frames_enter(kind):
    encoder = double(ENCODERS[kind](7, 3), sd=0.1)
    observed = OBSERVED.clone().requires_grad_()
    mean, log_variance = encoder(observed, MASK)
    (mean.sum() + log_variance.sum()).backward()
    entered = observed.grad.abs().amax(dim=2) > 0
    first = torch.zeros_like(MASK)
    first[:, 0] = True
    assert torch.equal(entered, MASK if kind in WHOLE_TRIAL else first)
    assert encoder.sees_whole_trial == (kind in WHOLE_TRIAL)


@pytest.mark.parametrize("kind", ENCODERS)
def test_gradients_against_finite_differences(kind):
    encoder = double(ENCODERS[kind](2, 2), sd=0.1)
    observed, mask = OBSERVED[2:4, :5, :2].clone().requires_grad_(), MASK[2:4, :5]
    assert torch.autograd.gradcheck(lambda x: encoder(x, mask), observed)
    check_parameter_gradients(encoder, lambda: torch.cat(encoder(OBSERVED[..., :2], MASK), dim=1))


# Each written out


def test_first_frame_written_out():
    encoder = double(FirstFrameEncoder(7, 3), sd=0.1)
    assert shapes(encoder) == [(7, 512), (512, 256), (256, 128), (128, 3), (128, 3)]
    expected = relu(chain(OBSERVED[:, 0].numpy(), encoder.body, relu))
    np.testing.assert_allclose(summaries(encoder), expected, atol=1e-10)


def test_gru_written_out():
    encoder = double(GRUEncoder(7, 3), sd=0.1)
    assert shapes(encoder) == [(256, 3), (256, 3)]
    assert (encoder.gru.num_layers, encoder.gru.bidirectional) == (1, False)
    w_x, w_h = array(encoder.gru.weight_ih_l0), array(encoder.gru.weight_hh_l0)
    b_x, b_h = array(encoder.gru.bias_ih_l0), array(encoder.gru.bias_hh_l0)
    for i, n in enumerate(LENGTHS):
        state = np.zeros(256)
        for bin_ in range(n):
            reset_x, update_x, new_x = np.split(w_x @ OBSERVED[i, bin_].numpy() + b_x, 3)
            reset_h, update_h, new_h = np.split(w_h @ state + b_h, 3)
            update = expit(update_x + update_h)
            new = np.tanh(new_x + expit(reset_x + reset_h) * new_h)
            state = (1 - update) * new + update * state
        np.testing.assert_allclose(summaries(encoder)[i], state, atol=1e-10)


def test_transformer_written_out(mode):
    """One layer of two heads, norms after each half, ReLU in the feed-forward half."""
    encoder = mode(double(TransformerEncoder(7, 3), sd=0.1))
    layer = encoder.layer
    assert shapes(encoder)[0] == (7, 256)
    assert (layer.linear1.in_features, layer.linear1.out_features, layer.linear2.out_features) == (256, 512, 256)
    assert all(drop.p == 0 for drop in (layer.dropout, layer.dropout1, layer.dropout2))
    assert layer.self_attn.dropout == 0
    in_weight, in_bias = array(layer.self_attn.in_proj_weight), array(layer.self_attn.in_proj_bias)
    for i, n in enumerate(LENGTHS):
        tokens = linear(OBSERVED[i, :n].numpy(), encoder.projection) + positions(n, 256).numpy()
        query, key, value = np.split(tokens @ in_weight.T + in_bias, 3, axis=1)
        heads = []
        for head in (slice(0, 128), slice(128, 256)):
            heads.append(softmax(query[:, head] @ key[:, head].T / np.sqrt(128), axis=1) @ value[:, head])
        tokens = layer_norm(tokens + linear(np.concatenate(heads, axis=1), layer.self_attn.out_proj), layer.norm1)
        tokens = layer_norm(tokens + chain(tokens, [layer.linear1, layer.linear2], relu), layer.norm2)
        np.testing.assert_allclose(summaries(encoder)[i], tokens[0], atol=1e-9)


def test_positions_written_out():
    found = positions(80, 6)
    assert found.shape == (80, 6)
    angles = np.arange(80)[:, None] / 10000 ** (2 * np.arange(3) / 6)
    np.testing.assert_allclose(found[:, 0::2], np.sin(angles), atol=1e-4)
    np.testing.assert_allclose(found[:, 1::2], np.cos(angles), atol=1e-4)


def test_the_order_of_frames_matters_to_all_but_attention_pooling():
    reversed_, mask = OBSERVED[:1].clone(), MASK[:1]
    reversed_[:, 1:] = reversed_[:, 1:].flip(1)
    for kind in WHOLE_TRIAL:
        encoder = double(ENCODERS[kind](7, 3), sd=0.1)
        same = torch.allclose(encoder(reversed_, mask)[0], encoder(OBSERVED[:1], mask)[0], atol=1e-8)
        assert same == (kind == "attention"), kind


def test_attention_written_out():
    encoder = double(AttentionEncoder(7, 3), sd=0.1)
    assert shapes(encoder) == [(7, 256), (256, 256), (256, 1), (256, 3), (256, 3)]
    for i, n in enumerate(LENGTHS):
        hidden = relu(linear(OBSERVED[i, :n].numpy(), encoder.projection[0]))
        share = softmax(chain(hidden, encoder.score, np.tanh)[:, 0])
        np.testing.assert_allclose(summaries(encoder)[i], share @ hidden, atol=1e-10)
