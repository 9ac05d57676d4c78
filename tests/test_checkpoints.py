import pickle
import random
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ABOUT

from odevae.errors import OdevaeError
from odevae.protocols.fold import save_fold
from odevae.storage.files import read_json, write_json
from odevae.storage.run_folder import CHECKPOINT_FILE, HISTORY_FILE, RESUME_FILE, RUN_FILE, read_history
from odevae.training import resume
from odevae.training.checkpoints import load_checkpoint
from odevae.training.recorder import RESUME_EVERY, require_device, train
from odevae.training.reproducibility import generators, restore_generators
from odevae.training.resume import load_resume_point

EPOCHS = 8


class Stop(BaseException):
    """What a signal raises: no ordinary exception."""


@pytest.fixture(scope="module")
def go(heldout_fold, tiny, make_key):
    """Train in a folder; `stop_after` ends it like a signal once that many epochs are on disk."""

    def train_it(folder, stop_after=None, about=ABOUT, seed=7, **changes):
        folder.mkdir(exist_ok=True)

        def on_epoch():
            if stop_after is not None and read_history(folder / HISTORY_FILE)[-1]["epoch"] >= stop_after:
                raise Stop

        return train(
            heldout_fold, make_key(seed=seed), replace(tiny, **{"epochs": EPOCHS} | changes), folder, about, on_epoch
        )

    return train_it


@pytest.fixture(scope="module")
def whole(tmp_path_factory, go):
    """Folder of a training that was never stopped; read only."""
    folder = tmp_path_factory.mktemp("whole")
    assert go(folder)["resumed_after"] == []
    return folder


@pytest.fixture(scope="module")
def stopped_after_6(tmp_path_factory, go):
    folder = tmp_path_factory.mktemp("stopped")
    with pytest.raises(Stop):
        go(folder, stop_after=6)
    return folder


@pytest.fixture
def stopped(tmp_path, stopped_after_6):
    """Folder of a training that was stopped after six epochs, to go on in."""
    return Path(shutil.copytree(stopped_after_6, tmp_path / "stopped"))


def rows(folder) -> list[dict]:
    return [{**row, "seconds": None} for row in read_history(folder / HISTORY_FILE)]


def assert_same_result(one: Path, other: Path) -> None:
    """Bit for bit: every epoch of the history, both checkpoints, and what run.json says of them."""
    runs = [read_json(folder / RUN_FILE) for folder in (one, other)]
    assert rows(one) == rows(other)
    states = [load_checkpoint(folder, run) for folder, run in zip((one, other), runs, strict=True)]
    for name in ("best", "last"):
        assert states[0][name].keys() == states[1][name].keys()
        assert all(torch.equal(states[0][name][key], states[1][name][key]) for key in states[0][name])
    for name in ("status", "epochs", "best_r2", "final_r2", "best_val_loss", "best_epoch", "spec", "key"):
        assert runs[0][name] == runs[1][name], name


@pytest.mark.parametrize("stops", [[1], [5], [6], [7], [2, 3, 6], list(range(1, EPOCHS))])
def test_a_stopped_training_ends_as_one_that_was_never_stopped(tmp_path, go, whole, stops):
    for stop in stops:
        with pytest.raises(Stop):
            go(tmp_path / "stopped", stop_after=stop)
        # Snakemake deletes the outputs of a failed job.
        for name in (RUN_FILE, HISTORY_FILE):
            (tmp_path / "stopped" / name).unlink()
    run = go(tmp_path / "stopped")
    assert_same_result(whole, tmp_path / "stopped")
    assert run["resumed_after"] == stops
    assert not (tmp_path / "stopped" / RESUME_FILE).exists()


def test_every_kind_of_model_goes_on_with_the_same_bits(tmp_path, go):
    for preset, changes in {"gru": {"encoder": "gru"}, "moe": {"field": "moe", "decoder": "moe"}}.items():
        go(tmp_path / preset, epochs=3, **changes)
        with pytest.raises(Stop):
            go(tmp_path / f"{preset} stopped", stop_after=2, epochs=3, **changes)
        go(tmp_path / f"{preset} stopped", epochs=3, **changes)
        assert_same_result(tmp_path / preset, tmp_path / f"{preset} stopped")


def test_it_is_the_same_attempt(go, stopped):
    attempt = read_json(stopped / RUN_FILE)["attempt"]
    assert go(stopped)["attempt"] == attempt
    # A finished training that is asked for again is another.
    assert go(stopped)["attempt"] != attempt


def test_a_training_that_is_stopped_in_its_first_epoch_is_the_same_attempt_too(tmp_path, go, whole, monkeypatch):
    def interrupted(*arguments, **settings):
        raise Stop

    with monkeypatch.context() as patch, pytest.raises(Stop):
        patch.setattr("odevae.training.state.descend", interrupted)
        go(tmp_path / "a")
    attempt = read_json(tmp_path / "a" / RUN_FILE)["attempt"]
    run = go(tmp_path / "a")
    assert (run["attempt"], run["resumed_after"]) == (attempt, [0])
    assert_same_result(whole, tmp_path / "a")


def test_patience_that_ran_out_stays_out(tmp_path, go):
    changes = {"patience": 3, "learning_rate": 1e-12, "epochs": 60}
    run = go(tmp_path / "whole", **changes)
    with pytest.raises(Stop):
        go(tmp_path / "stopped", stop_after=run["epochs"], **changes)
    go(tmp_path / "stopped", **changes)
    assert_same_result(tmp_path / "whole", tmp_path / "stopped")


def test_a_training_that_diverges_after_it_was_stopped(tmp_path, go):
    changes = {"learning_rate": 1e30}
    run = go(tmp_path / "whole", **changes)
    assert run["status"] == "diverged"
    if run["epochs"]:
        with pytest.raises(Stop):
            go(tmp_path / "stopped", stop_after=1, **changes)
    again = go(tmp_path / "stopped", **changes)
    assert (again["status"], again["epochs"], again["reason"]) == ("diverged", run["epochs"], run["reason"])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 8}, "key"),
        ({"batch_size": 2}, "spec"),
        ({"about": ABOUT | {"fold_sha256": "0"}}, "fold_sha256"),
        ({"about": ABOUT | {"code_sha256": "0"}}, "code_sha256"),
    ],
)
def test_another_training_does_not_go_on_from_there(tmp_path, go, whole, stopped, caplog, change, named):
    with caplog.at_level("INFO", "odevae"):
        run = go(stopped, **change)
    assert run["resumed_after"] == []
    assert f"resume.pt: left by another training ({named}); this one starts again" in caplog.text
    if "about" not in change:
        whole = tmp_path / "other"
        go(whole, **change)
    assert_same_result(stopped, whole)


@pytest.mark.parametrize("how", ["cut", "flipped", "empty", "text", "another schema"])
def test_a_damaged_resume_point_is_found_and_the_training_starts_again(go, whole, stopped, caplog, how, monkeypatch):
    if how == "another schema":
        monkeypatch.setattr(resume, "SCHEMA", 1)
    path = stopped / RESUME_FILE
    content = path.read_bytes()
    middle = len(content) // 2
    flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    damaged = {"cut": content[:middle], "flipped": flipped, "empty": b"", "text": b"not a checkpoint"}
    path.write_bytes(damaged.get(how, content))
    with caplog.at_level("INFO", "odevae"):
        assert go(stopped)["resumed_after"] == []
    assert "resume.pt: damaged" in caplog.text
    assert_same_result(stopped, whole)


def test_a_resume_point_from_a_stranger_executes_nothing(tmp_path):
    marker = tmp_path / "marker"
    (tmp_path / RESUME_FILE).write_bytes(pickle.dumps(Evil(marker)))
    assert load_resume_point(tmp_path, {}) is None
    torch.save(Evil(marker), tmp_path / RESUME_FILE)
    assert load_resume_point(tmp_path, {}) is None
    assert not marker.exists()


class Evil:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


def test_a_checkpoint_that_is_not_the_runs_own_is_refused(tmp_path, go):
    go(tmp_path / "a", epochs=1)
    go(tmp_path / "b", epochs=1, seed=8)
    run = read_json(tmp_path / "a" / RUN_FILE)
    path = tmp_path / "a" / CHECKPOINT_FILE
    content = path.read_bytes()
    for wrong in ((tmp_path / "b" / CHECKPOINT_FILE).read_bytes(), content[:-1], content[:-20] + b"x" + content[-19:]):
        path.write_bytes(wrong)
        with pytest.raises(OdevaeError, match=r"checkpoint.pt: not what was written there .* run the workflow again"):
            load_checkpoint(tmp_path / "a", run)


def test_the_generators_go_on_where_they_were():
    def draw():
        return random.random(), np.random.rand(), np.random.standard_normal(), torch.rand(3).tolist()  # noqa: NPY002

    draw()
    states = generators()
    expected = [draw(), draw()]
    restore_generators(states)
    assert [draw(), draw()] == expected


def test_a_gpu_that_is_not_there_is_one_sentence():
    require_device("cpu")
    if not torch.cuda.is_available():
        with pytest.raises(OdevaeError, match=r"a GPU was asked for .* ask for gpu=0"):
            require_device("cuda")


# In a process of its own, killed for real.

STOP_AFTER = 6
# Epochs after the signal take long, so that it comes before the training ends.
SCRIPT = """
import sys, time
from pathlib import Path
import torch
from odevae.storage.files import read_json
from odevae.protocols.fold import load_fold
from odevae.models.presets import ModelSpec
from odevae.storage.run_folder import RunKey
from odevae.jobs.job_logging import stage
from odevae.training.recorder import train
folder, threads, quick = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
what = read_json(folder.parent / "what.json")
torch.set_num_threads(threads)
done = []
def on_epoch():
    done.append(1)
    print("epoch done", flush=True)
    time.sleep(0.02 if len(done) <= quick else 0.5)
with stage(folder / "log.txt"):
    train(load_fold(folder.parent), RunKey(**what["key"]), ModelSpec(**what["spec"]), folder, what["about"], on_epoch)
"""


@pytest.fixture
def process(tmp_path, heldout_fold, tiny, make_key):
    """Start a training in ``stopped`` in a process of its own; returned when so many epochs are done."""
    save_fold(heldout_fold, tmp_path)
    spec = replace(tiny, epochs=EPOCHS).as_dict()
    write_json(tmp_path / "what.json", {"key": make_key().as_dict(), "spec": spec, "about": ABOUT})

    def start(epochs):
        (tmp_path / "stopped").mkdir(exist_ok=True)
        started = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, tmp_path / "stopped", str(torch.get_num_threads()), str(epochs)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(epochs):
            while "epoch done" not in (line := started.stdout.readline()):
                assert line, "the process ended early"
        return started

    return start


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_signal_loses_no_more_than_it_must(tmp_path, go, whole, process, caplog, stop):
    stopped = process(STOP_AFTER)
    stopped.send_signal(stop)
    output = stopped.stdout.read()
    code = stopped.wait()
    assert code == {signal.SIGTERM: 128 + 15, signal.SIGINT: 128 + 2, signal.SIGKILL: -9}[stop], output
    assert "Traceback" not in output
    (tmp_path / "stopped" / RUN_FILE).unlink()
    with caplog.at_level("INFO", "odevae"):
        [resumed_after] = go(tmp_path / "stopped")["resumed_after"]
    assert f"goes on after epoch {resumed_after}" in caplog.text
    assert_same_result(whole, tmp_path / "stopped")
    if stop == signal.SIGKILL:
        assert resumed_after >= RESUME_EVERY
    else:
        assert resumed_after >= STOP_AFTER
        assert f"stopped; the next call goes on after epoch {resumed_after}" in output


def test_a_full_disk_ends_the_training_in_one_sentence_and_keeps_the_resume_point(tmp_path, go, whole, process):
    """A limit on the size of files takes the place of the full disk: a write meets the same error."""
    stopped = process(RESUME_EVERY)
    subprocess.run(["prlimit", "--pid", str(stopped.pid), "--fsize=2000:2000"], check=True)
    output = stopped.communicate()[0]
    assert stopped.returncode == 1
    [sentence] = [line for line in output.splitlines() if line.startswith("error: ")]
    assert "cannot be written (File too large); make room there and run the workflow again" in sentence
    assert "Traceback" not in output
    assert not list((tmp_path / "stopped").glob("*.part"))
    assert go(tmp_path / "stopped")["resumed_after"][0] >= RESUME_EVERY
    assert_same_result(whole, tmp_path / "stopped")
