import json
import math
import os
import resource
import signal
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from odevae.errors import OdevaeError
from odevae.storage.files import read_arrays, read_checked, read_json, sha256_of, write_arrays, write_bytes, write_json

CONTENT = {"r2": 0.25, "loss": math.inf, "nested": {"list": [1, None, True, "text"], "nan": math.nan}}


def damaged(content: bytes, position: int, bit: int) -> bytes:
    position %= len(content)
    return content[:position] + bytes([content[position] ^ (1 << bit)]) + content[position + 1 :]


def test_json_comes_back_as_it_was_written(tmp_path):
    write_json(tmp_path / "a.json", CONTENT)
    back = read_json(tmp_path / "a.json")
    assert math.isnan(back["nested"].pop("nan"))
    expected = {**CONTENT, "nested": {"list": [1, None, True, "text"]}}
    assert back == expected


def test_arrays_come_back_as_they_were_written(tmp_path):
    arrays = {"x": np.arange(6.0, dtype=np.float32).reshape(2, 3).T, "name": np.array("ä"), "none": np.empty((0, 4))}
    seal = write_arrays(tmp_path / "a.npz", arrays)
    back, read_seal = read_arrays(tmp_path / "a.npz")
    assert back.keys() == arrays.keys() and read_seal == seal
    for name, array in arrays.items():
        np.testing.assert_array_equal(back[name], array)
        assert back[name].dtype == array.dtype


def test_the_seal_distinguishes_values_names_types_and_shapes(tmp_path):
    x = np.arange(6.0)
    variants = [{"x": x}, {"y": x}, {"x": x.astype(np.float32)}, {"x": x.reshape(2, 3)}, {"x": x + 1e-12}, {}]
    assert len({write_arrays(tmp_path / "a.npz", arrays) for arrays in variants}) == len(variants)


@given(position=st.integers(0, 10**6), bit=st.integers(0, 7))
@settings(max_examples=200, deadline=None)
def test_a_flipped_bit_is_found_or_harmless(tmp_path_factory, position, bit):
    folder = tmp_path_factory.mktemp("bits")
    arrays = {"x": np.linspace(0, 1, 50), "n": np.arange(3)}
    write_json(folder / "a.json", {"r2": 0.123456789, "name": "run"})
    write_arrays(folder / "a.npz", arrays)
    for path, read in ((folder / "a.json", read_json), (folder / "a.npz", lambda p: read_arrays(p)[0])):
        whole = read(path)
        path.write_bytes(damaged(path.read_bytes(), position, bit))
        try:
            again = read(path)
        except OdevaeError as error:
            assert str(path) in str(error) and "delete it and run the workflow again" in str(error)
            continue
        # A bit that nobody reads, for instance the date of an archive's entry.
        assert again.keys() == whole.keys()
        assert all(np.array_equal(again[name], whole[name]) for name in whole)


@given(share=st.floats(0, 0.999))
@settings(max_examples=60, deadline=None)
def test_a_cut_file_is_refused(tmp_path_factory, share):
    folder = tmp_path_factory.mktemp("cut")
    write_json(folder / "a.json", {"r2": 0.1})
    write_arrays(folder / "a.npz", {"x": np.arange(100.0)})
    for path, read in ((folder / "a.json", read_json), (folder / "a.npz", read_arrays)):
        content = path.read_bytes()
        # All but the newline at the end of JSON says something.
        path.write_bytes(content[: min(int(share * len(content)), len(content) - 2)])
        with pytest.raises(OdevaeError, match="cannot be read"):
            read(path)


def test_an_edited_number_is_refused(tmp_path):
    path = tmp_path / "metrics.json"
    write_json(path, {"r2": 0.1})
    path.write_text(path.read_text().replace("0.1", "0.9"))
    with pytest.raises(OdevaeError, match=r"metrics.json: not what was written there \(its SHA-256 is another\)"):
        read_json(path)


def test_files_of_another_version_are_refused_by_name(tmp_path):
    path = tmp_path / "run.json"
    for schema, said in ((None, "none"), (1, "1"), (99, "99"), ("two", "two")):
        path.write_text(json.dumps({"r2": 0.1} | ({} if schema is None else {"schema": schema})))
        with pytest.raises(OdevaeError, match=rf"another version .* \(schema {said}, this one reads 2\); delete"):
            read_json(path)
    np.savez(tmp_path / "a.npz", x=np.ones(3))
    with pytest.raises(OdevaeError, match="schema none"):
        read_arrays(tmp_path / "a.npz")


@pytest.mark.parametrize("text", ["[1, 2]", "7", "", "null", "{", "[" * 100_000])
def test_json_of_another_kind_is_refused(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(OdevaeError, match="cannot be read"):
        read_json(tmp_path / "a.json")


def test_a_file_with_a_known_checksum(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"abc")
    assert read_checked(path, sha256_of(path)) == b"abc"
    with pytest.raises(OdevaeError, match="another"):
        read_checked(path, sha256_of(path)[::-1])
    with pytest.raises(OdevaeError, match="run the workflow again"):
        read_checked(tmp_path / "missing", "0" * 64)


def test_when_there_is_no_room_the_old_file_survives(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    script = (
        "import sys, resource; from odevae.storage.files import write_bytes\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n    write_bytes(sys.argv[1], b'x' * 5000)\n"
        "except OSError as error:\n    print(error.filename, error.strerror)\n"
    )
    result = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=True)
    assert result.stdout == f"{path} {os.strerror(27)}\n"
    assert os.listdir(tmp_path) == ["a.bin"] and path.read_bytes() == b"old"
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 1000


def test_a_process_killed_while_it_writes_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"n": 0})
    script = (
        "import itertools, sys; from odevae.storage.files import write_json\n"
        "for n in itertools.count():\n    write_json(sys.argv[1], {'n': n, 'text': 'x' * 200_000})\n"
        "    n or print('started', flush=True)\n"
    )
    rng = np.random.default_rng(0)
    for _ in range(5):
        process = subprocess.Popen([sys.executable, "-c", script, path], stdout=subprocess.PIPE)
        process.stdout.readline()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(rng.uniform(0.01, 0.2))
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert read_json(path).keys() == {"n", "text"}


def test_arrays_are_written_and_read_without_a_copy_of_them(tmp_path):
    # 200 MB that compress well, in a process of its own, because a peak counts for its whole life.
    program = (
        "import resource, sys, numpy as np; from odevae.storage.files import read_arrays, write_arrays\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
        "x = np.tile(np.arange(50.0), 500_000); before = peak()\n"
        "write_arrays(sys.argv[1], {'x': x}); print(peak() - before)\n"
        "del x; read_arrays(sys.argv[1]); print(peak() - before)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "a.npz")]
    written, read = map(float, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    assert written < 60 and read < 60


def test_writing_leaves_no_other_file(tmp_path):
    write_bytes(tmp_path / "a", b"1")
    write_bytes(tmp_path / "a", b"2")
    assert os.listdir(tmp_path) == ["a"] and (tmp_path / "a").read_bytes() == b"2"
