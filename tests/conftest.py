import gc
import os
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

# One thread: the same bits on every machine with the same libraries, and pytest-xdist does not overload the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from odevae.data.frames import ReadingSettings
from odevae.data.readers import read
from odevae.data.recording import Recording
from odevae.data.simulate.foraging import foraging
from odevae.data.trials import Trials, cut
from odevae.protocols.recipes import heldout, published
from odevae.storage.run_folder import RunKey

# How long an example takes depends on what else the machine does.
hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")

PUBLISHED_DEFAULTS = {"bins": 120, "duration_s": 12, "drop_first_trials": 10, "landmarks": 100, "holdout": 20}
HELDOUT_SMALL = {"drop_first_trials": 0, "test_fraction": 0.2, "validation_fraction": 0.2, "seed": 0}
PUBLISHED_SMALL = {"bins": 15, "duration_s": 2.0, "drop_first_trials": 10, "landmarks": 12, "holdout": 3}
# What the training job adds to run.json.
ABOUT = {"data_sha256": "d" * 64, "git_commit": "c" * 40, "fold_sha256": "f" * 64, "host": "here"}


def pytest_xdist_auto_num_workers(config):
    """For ``-n auto`` two more than cores: tests that wait for SLURM, a server or a lock leave theirs to the others."""
    # macOS knows of no affinity.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return cores + 2


def pytest_configure():
    # Until all tests are collected hardly anything becomes garbage, and looking for it takes a fifth of the time.
    gc.disable()


def pytest_collection_finish():
    # What was imported and collected stays until the end.
    gc.freeze()
    gc.enable()


# First, because pytest-xdist reads the groups in the same hook.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        # The tests of a file run in the same process, because they share what takes long to make.
        item.add_marker(pytest.mark.xdist_group(item.path.stem))
    # Files with slow tests first, so that at the end no process waits for another's long test.
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def paper_data_dir() -> Path:
    """The folder with the paper's data files; without it the test is skipped."""
    folder = os.environ.get("ODEVAE_DATA_DIR")
    if not folder:
        pytest.skip("ODEVAE_DATA_DIR is not set: it names the folder with the paper's data files")
    return Path(folder)


def rows(recording: Recording, kept) -> Recording:
    """The frames `kept` of a recording."""
    per_frame = {name: getattr(recording, name)[kept] for name in ("activity", "trial", "time", "latents")}
    return replace(recording, **per_frame, covariates={k: values[kept] for k, values in recording.covariates.items()})


def trials_of(values: np.ndarray, lengths, **more) -> Trials:
    """Trials of ``(B, L, N)`` values that are recorded over their first `lengths` bins, at 10 Hz."""
    recorded = np.arange(values.shape[1]) < np.asarray(lengths)[:, None]
    return Trials(
        values=np.where(recorded[..., None], values, 0).astype(np.float32),
        mask=recorded,
        recorded=recorded,
        times=np.where(recorded, 0.1 * np.arange(values.shape[1]), 0.0),
        trial_ids=np.arange(len(values)) + 1,
        **more,
    )


def fitted(model, train: Trials, validation: Trials | None = None):
    """The model after its fit; validated on the training trials where no others are given."""
    model.fit(train, train if validation is None else validation)
    return model


def _make_recording(lengths, n_neurons: int = 4, first_id: int = 1, interval_s: float = 0.1, seed: int = 0):
    """A recording of random activity with trials of the given numbers of frames; time does not restart with a trial."""
    lengths = np.asarray(lengths)
    n_frames = int(lengths.sum())
    generator = np.random.default_rng(seed)
    mixing = generator.standard_normal((3, n_neurons))
    walk = np.cumsum(generator.standard_normal((n_frames, 3)), axis=0)
    return Recording(
        activity=walk @ mixing + 0.3 * generator.standard_normal((n_frames, n_neurons)) + 2.0,
        trial=np.repeat(np.arange(len(lengths)) + first_id, lengths),
        time=50.0 + interval_s * np.arange(n_frames),
        covariates={"speed": generator.standard_normal(n_frames)},
        latents=walk,
        source={"name": "made up"},
    )


@pytest.fixture(scope="session")
def make_recording():
    return _make_recording


@pytest.fixture(scope="session")
def make_trials(make_recording):
    """The trials of a recording of `make_recording`, on native frames."""

    def make(lengths, n_neurons: int = 4, seed: int = 0) -> Trials:
        recording = make_recording(lengths, n_neurons=n_neurons, seed=seed)
        return cut(recording, recording.activity, recording.trial_ids)

    return make


@pytest.fixture(scope="session")
def e65() -> Recording:
    return read(paper_data_dir() / "E65_v73.mat", name="e65", units="dF/F")


@pytest.fixture(scope="session")
def synthetic_file() -> Recording:
    settings = ReadingSettings(time_unit="frames")
    return read(paper_data_dir() / "synthetic_rat_data.npz", name="synthetic", units="a.u.", settings=settings)


@pytest.fixture(scope="session")
def small() -> Recording:
    """Twelve simulated trials of 12 to 20 frames, 12 neurons."""
    whole = foraging(n_neurons=12, n_frames=240, n_trials=12, seed=3, noise=0.05)
    return rows(whole, whole.time < (20 - 2 * (whole.trial % 5)) / 10 - 0.05)


def shared_project(tmp_path_factory, name: str, config: dict):
    """A project that has run completely, made by the first process of pytest-xdist that asks for it."""
    from workflow_project import Project

    # The folder that the processes share.
    folder = tmp_path_factory.getbasetemp()
    folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    root, whole = folder / name, folder / f"{name}.whole"
    with FileLock(folder / f"{name}.lock"):
        if not whole.exists():
            # What a process left that failed.
            shutil.rmtree(root, ignore_errors=True)
            Project.finished(root, config)
            whole.touch()
    return Project(root)


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A project whose one study has run; do not change it."""
    from workflow_project import small_config

    return shared_project(tmp_path_factory, "finished", small_config())


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """A project whose two longer trainings nothing has disturbed; do not change it."""
    from workflow_project import longer_config

    return shared_project(tmp_path_factory, "undisturbed", longer_config())


@pytest.fixture(scope="session")
def heldout_fold(small):
    return heldout(small, "pca", split=0, settings=HELDOUT_SMALL)


@pytest.fixture(scope="session")
def published_fold(small):
    return published(small, "pca", split=1, settings=PUBLISHED_SMALL | {"drop_first_trials": 0})


@pytest.fixture(scope="session")
def make_key():
    return partial(replace, RunKey("small", "heldout", 0, "tiny", 2, "5e-4", 7))


@pytest.fixture(scope="session")
def tiny():
    """A model with every loss term that trains in seconds."""
    from odevae.models.presets import PRESETS

    return replace(
        PRESETS["v5"],
        field="mlp",
        decoder="mlp",
        observations="pca",
        epochs=3,
        batch_size=3,
        beta_warmup_epochs=4,
        transition_warmup_epochs=2,
    )


@pytest.fixture(scope="session")
def train_small(tmp_path_factory, heldout_fold):
    """Trains a model on `heldout_fold` and gives the folder of the run."""
    from odevae.training.recorder import train

    def run(key, spec) -> Path:
        folder = tmp_path_factory.mktemp("run")
        train(heldout_fold, key, spec, folder, ABOUT)
        return folder

    return run


@pytest.fixture(scope="session")
def trained(train_small, tiny, make_key):
    """Folder of a short run; do not change it."""
    return train_small(make_key(), tiny)


@pytest.fixture(scope="session")
def diverged(train_small, tiny, make_key):
    """Folder of a run that diverged because of a huge learning rate; do not change it."""
    return train_small(make_key(seed=8), replace(tiny, learning_rate=1e30))


@pytest.fixture
def figures_need_no_pyplot(monkeypatch):
    """A figure made through pyplot would stay open; building one here is an error."""
    monkeypatch.setattr("matplotlib.pyplot.figure", lambda *_, **__: pytest.fail("pyplot was used"))


@pytest.fixture
def check_saved(tmp_path):
    """Saves a figure twice as PNG and PDF; the files must be there and must not change."""

    from odevae import plots

    def check(figure) -> None:
        saved = []
        for folder in ("one", "two"):
            (tmp_path / folder).mkdir(exist_ok=True)
            files = [tmp_path / folder / f"d5_ls0.5_seed1.{kind}" for kind in ("png", "pdf")]
            plots.save(figure, *files)
            saved.append([file.read_bytes() for file in files])
        assert saved[0] == saved[1]
        assert saved[0][0].startswith(b"\x89PNG")
        assert saved[0][1].startswith(b"%PDF")

    return check


@pytest.fixture
def figure(tmp_path):
    """A picture of 2400 x 600 pixels."""
    path = tmp_path / "figure.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (600, 2400, 3), dtype=np.uint8)).save(path)
    return path
