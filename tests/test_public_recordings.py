"""`odevae.datasets`: the same recordings as the workflow's, from the one file that has their addresses."""

import numpy as np
import pytest
import yaml
from conftest import paper_data_dir
from workflow_project import CHECKOUT

from odevae import datasets
from odevae.config.recordings import public_recordings
from odevae.config.schema import check_config
from odevae.data.recording import Recording
from odevae.data.trials import Trials
from odevae.errors import OdevaeError

CONFIG = CHECKOUT / "config/config.yaml"
SCHEMA = CHECKOUT / "workflow/schemas/config.schema.yaml"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    paper_data_dir()
    return tmp_path_factory.mktemp("cache")


def test_e65_is_the_recording_of_the_workflow(home, e65: Recording):
    trials = datasets.load_e65(drop_first_trials=10, data_home=home)
    # Of the published protocol, see tests/test_workflow.py; trial by trial the frames of the file.
    assert len(trials) == 180
    for row in (0, 179):
        frames = e65.frames_of(trials.trial_ids[row])
        np.testing.assert_array_equal(trials.values[row, : len(frames)], e65.activity[frames].astype(np.float32))
        position = trials.covariates["Position"][row, : len(frames)]
        np.testing.assert_array_equal(position, e65.covariates["Position"][frames])
    assert (home / "E65_v73.mat").is_file()
    # The second time the file is there, and no folder is asked.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ODEVAE_DATA_DIR", str(home / "nowhere"))
        assert len(datasets.load_e65(data_home=home)) > 180


@pytest.mark.parametrize(("preparation", "more"), [("may2214", []), ("jun0914", ["P10"]), ("sep2914", [])])
def test_aplysia_has_the_windows_of_the_configuration(home, preparation, more):
    trials = datasets.load_aplysia(preparation, data_home=home)
    assert trials.values.shape[1] == 40 and trials.recorded.all()
    np.testing.assert_allclose(np.diff(trials.times, axis=1), 0.5)
    assert list(trials.covariates) == ["session", "window", *more]
    assert set(np.unique(trials.covariates["session"])) == {1, 2, 3}
    assert (trials.values == np.rint(trials.values)).all() and trials.values.max() > 3


def test_the_file_of_table_1(home):
    trials = datasets.load_foraging_published(data_home=home)
    assert trials.values.shape == (10, 200, 60)
    np.testing.assert_array_equal(np.unique(np.diff(trials.times, axis=1)), 1)


def test_simulations_are_trials_with_their_latents():
    settings = {"n_neurons": 5, "n_trials": 3, "seed": 1}
    for trials, n_latents in (
        (datasets.load_foraging(n_frames=60, **settings), 2),
        (datasets.load_sphere(frames_per_trial=20, **settings), 6),
        (datasets.load_attractor("roessler", frames_per_trial=20, **settings), 3),
    ):
        assert isinstance(trials, Trials)
        assert trials.values.shape == (3, 20, 5) and trials.latents.shape == (3, 20, n_latents)


def test_what_does_not_exist_is_refused(tmp_path, monkeypatch):
    with pytest.raises(OdevaeError, match="there is no preparation 'may'; choose one of may2214, jun0914, sep2914"):
        datasets.load_aplysia("may")
    with pytest.raises(OdevaeError, match="there is no chaotic system 'henon'; choose one of lorenz"):
        datasets.load_attractor("henon")
    with pytest.raises(OdevaeError, match="the simulation foraging has no setting n_neuron"):
        datasets.load_foraging(n_neuron=3)
    monkeypatch.setenv("ODEVAE_DATA_DIR", str(tmp_path))
    with pytest.raises(OdevaeError, match=r"E65_v73\.mat: there is no such file, and none in the folders below"):
        datasets.load_e65(data_home=tmp_path / "cache")
    (tmp_path / "E65_v73.mat").write_bytes(b"something else")
    with pytest.raises(OdevaeError, match=r"has the SHA-256 [0-9a-f]{64} but 307c5c53b2d4.* is expected"):
        datasets.load_e65(data_home=tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_the_configuration_has_every_public_recording_and_no_address():
    text = CONFIG.read_text(encoding="utf-8")
    assert "https://" not in text
    named = [entry["recording"] for entry in yaml.safe_load(text)["datasets"].values() if "recording" in entry]
    assert named == public_recordings()
    config = check_config(yaml.safe_load(text), yaml.safe_load(SCHEMA.read_text(encoding="utf-8")))
    assert all(config["datasets"][name]["fetch"] for name in named)


def test_a_data_set_may_change_what_is_known_of_a_recording():
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    config["datasets"]["aplysia_may2214"]["spikes"] = {"bin_s": 1, "window_s": 10}
    checked = check_config(config, yaml.safe_load(SCHEMA.read_text(encoding="utf-8")))["datasets"]
    assert checked["aplysia_may2214"]["spikes"] == {"bin_s": 1, "window_s": 10, "start_s": 0, "gap_s": 0, "events": {}}
    assert checked["aplysia_may2214"]["units"] == "spikes"
    # Nothing of it reaches the others.
    assert checked["aplysia_sep2914"]["spikes"]["bin_s"] == 0.5
