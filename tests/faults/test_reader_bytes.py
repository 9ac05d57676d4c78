"""Whatever the bytes of a file: reading it gives a recording or one sentence, and executes nothing.

Each property draws ODEVAE_FUZZ_EXAMPLES inputs; the number tried is printed at the end.
"""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from unittest import mock

import pytest
import reader_inputs as inputs
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from odevae.data.readers import read, subprocess_reader
from odevae.data.recording import Recording
from odevae.errors import OdevaeError

EXAMPLES = int(os.environ.get("ODEVAE_FUZZ_EXAMPLES", "100"))
WORKER_MEMORY = 3 * 2**30
PATIENCE_S = 120.0  # long enough for a machine that is busy with something else
# Of computing, for a file that kept the worker busy and is read in a process of its own.
SHORT_CPU_S = 3
# How many files that end the worker in one way are read once more, as a user would.
ENDS_REPEATED = 5

fuzz = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)


class Worker:
    """The process of `reading_worker`, started again whenever a file has kept it for too long."""

    def __init__(self):
        self.process = None
        self.answers = None

    def ask(self, path: Path) -> dict:
        if self.process is None:
            self._start()
        self.process.stdin.write(json.dumps(str(path)) + "\n")
        self.process.stdin.flush()
        try:
            return json.loads(self.answers.get(timeout=PATIENCE_S))
        except queue.Empty:
            self.stop()
            return {"silent": PATIENCE_S}

    def stop(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process.stdin.close()
            self.process = None

    def _start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("reading_worker.py")), str(WORKER_MEMORY)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=os.environ
            | {"PYTHONPATH": str(subprocess_reader.SOURCES), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
        self.answers = queue.Queue()
        threading.Thread(target=_pass_on, args=(self.process.stdout, self.answers), daemon=True).start()


def _pass_on(stream, answers: queue.Queue) -> None:
    with stream:
        for line in stream:
            answers.put(line)


class Campaign:
    """Feeds inputs to a worker, checks what becomes of each, and counts."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.marker = folder / "executed"
        self.secret = (folder / "secret.h5", inputs.write_secret(folder / "secret.h5"))
        self.good = inputs.good_files(folder)
        self.worker = Worker()
        self.counts = {suffix: Counter() for suffix in self.good}
        self.ends = Counter()

    def check_bytes(self, suffix: str, content: bytes) -> None:
        path = self.folder / f"input{suffix}"
        path.write_bytes(content)
        self.check(path)

    def check(self, path: Path) -> None:
        (kind, detail), *_ = self.worker.ask(path).items()
        self.counts[path.suffix][kind] += 1
        assert not self.marker.exists(), "the file executed code"
        assert kind != "raised", detail
        if kind == "recording":
            assert detail["sound"], detail
            assert all(name.isprintable() for name in detail["names"])
            assert inputs.SECRET not in detail["range"], "another file was read"
        elif kind == "sentence":
            check_sentence(detail)
        else:
            assert path.suffix == ".mat", f"{kind} {detail}"
            self.ends[kind, detail] += 1
            # Each takes a second, and they end alike.
            if self.ends[kind, detail] <= ENDS_REPEATED:
                check_as_user(path)

    def report(self) -> str:
        lines = []
        for suffix, counts in self.counts.items():
            listing = ", ".join(f"{number} {kind}" for kind, number in sorted(counts.items()))
            lines.append(f"{counts.total()} inputs under {suffix}: {listing}")
        return "; ".join(lines)


def check_as_user(path: Path) -> None:
    """Reading a file that ended the worker, as a user would: its process ends, and one sentence says so."""
    with mock.patch.object(subprocess_reader, "CPU_LIMIT_S", SHORT_CPU_S):
        try:
            assert isinstance(read(path), Recording)
        except OdevaeError as error:
            check_sentence(str(error))


def check_sentence(sentence: str) -> None:
    assert sentence.endswith("."), sentence
    assert sentence.isprintable(), sentence
    assert len(sentence) < 5000, sentence


@pytest.fixture(scope="module")
def campaign(tmp_path_factory, request):
    made = Campaign(tmp_path_factory.mktemp("bytes"))
    yield made
    made.worker.stop()
    with request.config.pluginmanager.get_plugin("capturemanager").global_and_fixture_disabled():
        print(f"\n{made.report()}")


# Bytes


@pytest.mark.parametrize("suffix", [".npz", ".mat"])
@given(
    content=st.binary(max_size=400),
    head=st.sampled_from(
        [b"", b"PK\x03\x04", b"PK\x05\x06", inputs.MAT5_HEADER, inputs.MAT73_HEADER + bytes(384) + b"\x89HDF\r\n\x1a\n"]
    ),
)
@fuzz
def test_random_bytes(campaign, suffix, head, content):
    campaign.check_bytes(suffix, head + content)


@pytest.mark.parametrize("suffix", [".npz", ".mat"])
@given(data=st.data())
@fuzz
def test_changed_bytes_of_good_files(campaign, suffix, data):
    files = campaign.good[suffix]
    number = data.draw(st.integers(0, len(files) - 1))
    campaign.check_bytes(suffix, inputs.changed(files[number], data.draw(inputs.changes)))


# Structure


@given(arrays=inputs.odd_variables())
@fuzz
def test_odd_arrays_in_npz(campaign, arrays):
    campaign.check_bytes(".npz", inputs.npz({name.replace("\x00", "0"): array for name, array in arrays.items()}))


@given(data=st.data())
@fuzz
def test_archives_built_by_hand(campaign, data):
    content = data.draw(inputs.archives(campaign.marker))
    campaign.check_bytes(
        ".npz", inputs.changed(content, data.draw(inputs.changes)) if data.draw(st.booleans()) else content
    )


@given(
    arrays=inputs.odd_variables(
        names=["speed", "latents", "roi", "Trial", "Time", "nic_output"],
        dtypes=["f8", "f4", "c16", "i1", "i8", "u8", "?", "U2", "M8[ns]", "m8[s]"],
    ),
    version=st.sampled_from(["v7", "v7.3"]),
    compressed=st.booleans(),
)
@fuzz
def test_odd_arrays_in_mat(campaign, arrays, version, compressed):
    try:
        content = inputs.mat(arrays, campaign.folder, version, do_compression=compressed)
    except Exception:
        assume(False)
    campaign.check_bytes(".mat", content)


@pytest.mark.parametrize("files", [inputs.mat4_files(), inputs.mat5_files()], ids=["MATLAB 4", "MATLAB 5"])
@given(data=st.data())
@fuzz
def test_matlab_4_and_5_built_by_hand(campaign, files, data):
    campaign.check_bytes(".mat", data.draw(files))


@given(plan=inputs.hdf5_plans(), steps=st.one_of(st.just([]), st.just([]), inputs.changes))
@fuzz
def test_matlab_7_3_built_by_hand(campaign, plan, steps):
    path = campaign.folder / "plan.mat"
    inputs.write_hdf5(path, plan, campaign.secret)
    path.write_bytes(inputs.changed(path.read_bytes(), steps))
    campaign.check(path)
