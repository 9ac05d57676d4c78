"""Every pair of parts trains on the paper's recording."""

from dataclasses import replace
from itertools import combinations, product

import numpy as np
import pytest
import torch
from conftest import ABOUT, HELDOUT_SMALL

from odevae.evaluation.run_scores import evaluate
from odevae.models.decoders import DECODERS
from odevae.models.dynamics import FIELDS
from odevae.models.encoders import ENCODERS
from odevae.models.odevae import build
from odevae.models.presets import ModelSpec
from odevae.protocols.recipes import heldout
from odevae.storage.run_folder import CHECKPOINT_FILE, HISTORY_FILE, read_history
from odevae.storage.scores import REFERENCE, scores_of
from odevae.training.recorder import train
from odevae.training.reproducibility import seed_everything

pytestmark = pytest.mark.slow

TRAINED_ON, VALIDATED_ON = 16, 4


@pytest.fixture(scope="module")
def fold(e65):
    """The shortest trials of E65, for time; the longest training trial would set the pace of each batch."""
    whole = heldout(e65, "pca", split=0, settings=HELDOUT_SMALL)
    lengths = whole.raw.mask.sum(axis=1)

    def shortest(part, n):
        rows = whole.parts[part]
        return np.sort(rows[np.argsort(lengths[rows], kind="stable")[:n]])

    parts = {"train": shortest("train", TRAINED_ON), "validation": shortest("validation", VALIDATED_ON)}
    assert len(set(lengths[parts["train"]])) > 1
    return replace(whole, parts=parts)


@pytest.fixture
def check(fold, make_key, tmp_path):
    def trains(**parts):
        spec = ModelSpec(**parts, epochs=2, batch_size=8, weight_decay=0.0, lambda_transition=0.01, lambda_lle=0.01)
        key = make_key(dataset="e65", latent_dim=3)
        run = train(fold, key, spec, tmp_path, ABOUT)
        assert (run["status"], run["epochs"]) == ("ok", 2)
        rows = read_history(tmp_path / HISTORY_FILE)
        assert len(rows) == 2
        assert all(np.isfinite(value) for row in rows for value in row.values())

        # Without weight decay only a gradient moves a parameter.
        seed_everything(key.seed)
        start = build(spec, fold.preprocessor.n_channels, key.latent_dim).state_dict()
        last = torch.load(tmp_path / CHECKPOINT_FILE, weights_only=True)["last"]
        still = [name for name in start if torch.equal(start[name], last[name])]
        # Adding a constant to every score changes no softmax.
        assert set(still) <= {"encoder.score.2.bias"}

        metrics, predictions = evaluate(fold, tmp_path)
        observed, _ = fold.sequences("validation")
        for checkpoint in ("best", "last"):
            assert predictions[f"validation_{checkpoint}"].shape == observed.shape
            assert predictions[f"validation_{checkpoint}_sampled"].shape == observed.shape
            assert predictions[f"validation_{checkpoint}_path"].shape == (*observed.shape[:2], 3)
        assert all(np.isfinite(values).all() for values in predictions.values())
        assert all(
            np.isfinite(score.value)
            for score in scores_of(metrics)
            if score.checkpoint != REFERENCE and score.metric.startswith("r2")
        )

    return trains


# Each encoder with each decoder, and so many fields in turn that each meets every encoder and every decoder.
TRIOS = [
    (encoder, list(FIELDS)[(i + j) % len(FIELDS)], decoder)
    for (i, encoder), (j, decoder) in product(enumerate(ENCODERS), enumerate(DECODERS))
]


def test_the_trios_hold_every_pair():
    for one, other in combinations(range(3), 2):
        parts = [ENCODERS, FIELDS, DECODERS]
        assert {(trio[one], trio[other]) for trio in TRIOS} == set(product(parts[one], parts[other]))


@pytest.mark.parametrize(("encoder", "field", "decoder"), TRIOS)
def test_parts(check, encoder, field, decoder):
    check(encoder=encoder, field=field, decoder=decoder)


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize(("time_dependent", "second_order"), [(True, False), (False, True), (True, True)])
def test_options(check, field, time_dependent, second_order):
    check(field=field, time_dependent=time_dependent, second_order=second_order)
