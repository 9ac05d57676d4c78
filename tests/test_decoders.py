import numpy as np
import pytest
import torch
from scipy.special import softmax
from torch import nn
from written_out import array, chain, check_parameter_gradients, double, expert, expert_sizes, relu, shapes

from odevae.models.decoders import (
    DECODERS,
    LocalAttentionDecoder,
    MLPDecoder,
    MoEDecoder,
    NeuronAwareDecoder,
)

Z = torch.tensor(np.random.default_rng(0).standard_normal((5, 3)))


# Every decoder


@pytest.mark.parametrize("kind", DECODERS)
def test_every_state_is_decoded_by_itself(kind):
    decoder = DECODERS[kind](3, 6).double()
    path = torch.randn(2, 4, 3, dtype=torch.float64)
    decoded = decoder(path)
    assert decoded.shape == (2, 4, 6)
    alone = torch.stack([decoder(state) for state in path.flatten(0, 1)])
    torch.testing.assert_close(decoded.flatten(0, 1), alone, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("kind", DECODERS)
def test_gradients_against_finite_differences(kind):
    decoder = double(DECODERS[kind](2, 5))
    # Steps so small that none crosses a kink of a ReLU.
    assert torch.autograd.gradcheck(decoder, Z[:2, :2].clone().requires_grad_(), eps=1e-7)
    check_parameter_gradients(decoder, lambda: decoder(Z[:, :2]))


@pytest.mark.parametrize("n_channels", [1, 2, 30])
@pytest.mark.parametrize("kind", DECODERS)
def test_any_number_of_channels(kind, n_channels):
    torch.manual_seed(0)
    decoded = DECODERS[kind](3, n_channels).double()(Z)
    assert decoded.shape == (5, n_channels)
    assert torch.isfinite(decoded).all()


@pytest.mark.parametrize("kind", DECODERS)
def test_all_channels_differ(kind):
    torch.manual_seed(0)
    decoded = array(DECODERS[kind](3, 30).double()(Z))
    differences = np.abs(decoded[:, :, None] - decoded[:, None, :]).max(axis=0)
    assert (differences[~np.eye(30, dtype=bool)] > 1e-6).all()


# Each written out


@pytest.mark.parametrize(("kind", "width"), [(MLPDecoder, 512), (DECODERS["narrow_mlp"], 256)])
def test_mlp_decoders_written_out(kind, width):
    decoder = double(kind(3, 6))
    assert shapes(decoder) == [(3, width), (width, width), (width, 6)]
    np.testing.assert_allclose(array(decoder(Z)), chain(Z.numpy(), decoder.body, relu), rtol=1e-9, atol=1e-9)


def test_neuron_aware_decoder_written_out():
    decoder = double(NeuronAwareDecoder(3, 6))
    assert decoder.embedding.weight.shape == (6, 16)
    assert shapes(decoder) == [(19, 256), (256, 256), (256, 1)]
    expected = np.zeros((5, 6))
    for point in range(5):
        for channel in range(6):
            seen = np.concatenate([Z[point].numpy(), array(decoder.embedding.weight[channel])])
            expected[point, channel] = chain(seen, decoder.body, relu)[0]
    np.testing.assert_allclose(array(decoder(Z)), expected, rtol=1e-9, atol=1e-9)


def nearest_channels(embedding: np.ndarray, channel: int) -> tuple[list[int], np.ndarray]:
    """The (at most) 16 channels most like one, and their weights."""
    likeness = embedding @ embedding[channel]
    nearest = [int(other) for other in np.argsort(-likeness) if other != channel][:16]
    return nearest, softmax(likeness[nearest])


@pytest.mark.parametrize(("n_channels", "n_neighbours"), [(6, 5), (17, 16), (30, 16)])
def test_local_attention_decoder_written_out(n_channels, n_neighbours):
    decoder = double(LocalAttentionDecoder(3, n_channels), sd=0.5)
    assert decoder.embedding.weight.shape == (n_channels, 3)
    assert shapes(decoder) == [(6, 256), (256, 256), (256, 1)]
    embedding = array(decoder.embedding.weight)
    expected = np.zeros((5, n_channels))
    for point, z in enumerate(Z.numpy()):
        for channel in range(n_channels):
            nearest, weight = nearest_channels(embedding, channel)
            assert len(nearest) == n_neighbours
            seen = np.concatenate([z * embedding[channel], weight @ (z * embedding[nearest])])
            expected[point, channel] = chain(seen, decoder.body, relu)[0]
    np.testing.assert_allclose(array(decoder(Z)), expected, rtol=1e-9, atol=1e-9)


def test_by_the_rule_of_the_source_all_channels_would_be_equal():
    """There the neighbours' views are z itself; weights that sum to one give z back, whoever the neighbours are."""
    decoder = double(LocalAttentionDecoder(3, 30))
    embedding = array(decoder.embedding.weight)
    by_the_source = np.zeros((5, 30))
    for point, z in enumerate(Z.numpy()):
        for channel in range(30):
            nearest, weight = nearest_channels(embedding, channel)
            around = weight @ np.tile(z, (len(nearest), 1))
            np.testing.assert_allclose(around, z, atol=1e-12)
            by_the_source[point, channel] = chain(np.concatenate([z, around]), decoder.body, relu)[0]
    np.testing.assert_allclose(np.ptp(by_the_source, axis=1), 0, atol=1e-9)
    assert np.ptp(array(decoder(Z)), axis=1).min() > 0.1


def test_a_neighbour_matters_and_a_far_channel_does_not():
    decoder = double(LocalAttentionDecoder(3, 30))
    embedding = array(decoder.embedding.weight)
    nearest, _ = nearest_channels(embedding, 0)
    far = np.argmin(embedding @ embedding[0])
    assert far not in (0, *nearest)
    before = decoder(Z)[:, 0].detach().clone()
    with torch.no_grad():
        decoder.embedding.weight[far] *= 1.001
        torch.testing.assert_close(decoder(Z)[:, 0], before, atol=0, rtol=0)
        decoder.embedding.weight[nearest[0]] *= 1.001
        assert not torch.allclose(decoder(Z)[:, 0], before, atol=1e-9)


def test_moe_decoder_written_out():
    decoder = double(MoEDecoder(3, 6))
    assert expert_sizes(decoder.experts) == [(8, 3, 256), (8, 256, 256), (8, 256, 6)]
    assert decoder.channel_logits.shape == (6, 8)
    share = softmax(array(decoder.channel_logits), axis=1)
    expected = sum(share[:, e] * expert(Z.numpy(), decoder.experts, e, relu) for e in range(8))
    np.testing.assert_allclose(array(decoder(Z)), expected, rtol=1e-9, atol=1e-9)


def test_moe_decoder_starts_with_equal_shares():
    decoder = MoEDecoder(3, 6).double()
    mean = np.mean([expert(Z.numpy(), decoder.experts, e, relu) for e in range(8)], axis=0)
    np.testing.assert_allclose(array(decoder(Z)), mean, atol=1e-12)


def test_moe_decoder_is_drawn_as_separate_networks_are():
    torch.manual_seed(4)
    networks = [
        nn.Sequential(nn.Linear(3, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 6)) for _ in range(8)
    ]
    torch.manual_seed(4)
    decoder = MoEDecoder(3, 6)
    z = torch.randn(5, 3)
    torch.testing.assert_close(decoder(z), torch.stack([network(z) for network in networks]).mean(dim=0))
