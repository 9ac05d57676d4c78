"""Files for the readers: good files, good files with changed bytes, and files with deliberate errors."""

import io
import itertools
import struct
import sys
import zipfile
import zlib
from pathlib import Path

import h5py
import matio
import numpy as np
import pandas as pd
import scipy.io
import scipy.sparse
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

MAT5_HEADER = b"MATLAB 5.0 MAT-file".ljust(116) + bytes(8) + b"\x00\x01IM"
MAT73_HEADER = b"MATLAB 7.3 MAT-file".ljust(116) + bytes(8) + b"\x00\x02IM"
MAT73_BLOCK = 512
EXTREMES = [0, 1, 2, 7, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63, 2**64 - 1]


def variables() -> dict:
    """Three neurons, two trials of four frames."""
    return {
        "roi": np.arange(24.0).reshape(3, 8),
        "Trial": np.repeat([1.0, 2.0], 4),
        "Time": np.tile(np.arange(4.0), 2) / 10,
        "speed": np.linspace(0, 1, 8),
    }


def rich_variables() -> dict:
    """A recording and one variable of every kind that the MATLAB library can write."""
    cell = np.empty((1, 3), dtype=object)
    cell[:] = [[np.ones(2), "text", np.empty((0, 0))]]
    table = pd.DataFrame({"number": np.arange(3.0), "word": ["x", "y", "z"], "kind": pd.Categorical(["a", "b", "a"])})
    return variables() | {
        "cell": cell,
        "text": "words",
        "struct": {"field": np.arange(3), "inner": {"deep": 1.0}},
        "sparse": scipy.sparse.csc_array(np.eye(4)),
        "logical": np.array([True, False]),
        "complex": np.array([1 + 2j]),
        "small": np.arange(5, dtype=np.uint8),
        "moment": np.array(["2020-01-01", "NaT"], dtype="datetime64[ns]"),
        "span": np.array([1, 2], dtype="timedelta64[s]"),
        "table": table,
        "empty": np.empty((0, 3)),
    }


def nieh_variables() -> dict:
    """The layout of Nieh et al."""
    arrays = variables()
    table = pd.DataFrame({name: arrays[name] for name in ("Trial", "Time", "speed")} | {"word": ["a"] * 8})
    return {"nic_output": {"ROIactivities": arrays["roi"].T, "behavioralVariables": table}}


def npz(arrays: dict, save=np.savez) -> bytes:
    buffer = io.BytesIO()
    save(buffer, **arrays)
    return buffer.getvalue()


def mat(arrays: dict, folder: Path, version: str, **options) -> bytes:
    path = folder / "made.mat"
    path.unlink(missing_ok=True)
    matio.save_to_mat(str(path), arrays, version=version, **options)
    return path.read_bytes()


def good_files(folder: Path) -> dict[str, list[bytes]]:
    """Contents of good files by suffix: every format and version, with and without compression."""
    return {
        ".npz": [npz(variables()), npz(variables(), np.savez_compressed)],
        ".mat": [
            *(
                mat(arrays, folder, version, do_compression=compressed)
                for arrays in (variables(), rich_variables(), nieh_variables())
                for version, compressed in (("v7", False), ("v7", True), ("v7.3", True))
            ),
            mat4(),
        ],
    }


# Changes of bytes. Positions are taken modulo the length of the content.

_place = st.integers(0, 2**32)
_flip = st.tuples(st.just("flip"), _place, st.integers(1, 255))
_number = st.builds(
    lambda value, size, order: (value % 256**size).to_bytes(size, order),
    st.sampled_from(EXTREMES),
    st.sampled_from([1, 2, 4, 8]),
    st.sampled_from(["big", "little"]),
)
changes = st.lists(
    st.one_of(
        _flip,
        _flip,
        st.tuples(st.just("write"), _place, _number),
        st.tuples(st.just("write"), _place, st.integers(1, 100).map(bytes)),
        st.tuples(st.just("insert"), _place, st.binary(min_size=1, max_size=40)),
        st.tuples(st.just("remove"), _place, st.integers(1, 200)),
        st.tuples(st.just("remove"), _place, st.just(sys.maxsize)),
        st.tuples(st.just("repeat"), _place, st.tuples(_place, st.integers(1, 400))),
    ),
    min_size=1,
    max_size=6,
)


def changed(content: bytes, steps: list[tuple]) -> bytes:
    """The content after each of the `changes`."""
    data = bytearray(content)
    for kind, place, what in steps:
        if not data:
            break
        at = place % len(data)
        if kind == "flip":
            data[at] ^= what
        elif kind == "write":
            data[at : at + len(what)] = what[: len(data) - at]
        elif kind == "insert":
            data[at:at] = what
        elif kind == "remove":
            del data[at : at + what]
        else:
            start = what[0] % len(data)
            data[at:at] = data[start : start + what[1]]
    return bytes(data)


# Odd arrays in good files

NAMES = ["speed", "latents", "roi", "Trial", "Time", "nic_output"]
ODD_NAMES = [*NAMES, "../../speed", "/etc/speed", "a\nb", "\x1b[31mred", "<script>alert(1)</script>", "$\\frac"]
ODD_NAMES += ["naïve π", "a" * 300, "__globals__", "speed.npy", "", "\x00", "-rf"]
ODD_DTYPES = ["f8", ">f8", "f4", ">f4", "f2", "g", "c16", "i1", ">i4", "i8", "u8", "?", "S3", "U2", "M8[s]", "m8[D]"]
ODD_DTYPES += ["V4", "V0", "S0"]
ODD_SHAPES = [(), (0,), (1,), (8,), (9,), *itertools.product((0, 1, 3, 8), repeat=2), (2, 4), (1, 8, 3)]


@st.composite
def odd_arrays(draw, dtypes=tuple(ODD_DTYPES)):
    """Arrays of any type, with shapes similar to those of a recording's variables."""
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    shape = draw(st.sampled_from(ODD_SHAPES))
    if draw(st.booleans()) and dtype.kind in "fiu":
        special = [0, 1, 2, -1] + [np.nan, np.inf, -np.inf, 1e308, 2.0**53, 0.5] * (dtype.kind == "f")
        with np.errstate(over="ignore"):
            values = np.array(draw(st.lists(st.sampled_from(special), min_size=1, max_size=24))).astype(dtype)
        array = np.resize(values, shape)
    elif dtype.kind == "V" or dtype.itemsize == 0:
        array = np.zeros(shape, dtype)
    else:
        array = draw(hnp.arrays(dtype, shape))
    return np.asfortranarray(array) if draw(st.booleans()) else array


def odd_variables(names=tuple(ODD_NAMES), dtypes=tuple(ODD_DTYPES)):
    """A good recording with up to three variables replaced or added."""
    return st.dictionaries(st.sampled_from(names), odd_arrays(dtypes), max_size=3).map(lambda odd: variables() | odd)


# Archives with invalid members

DESCRIPTIONS = ["'<f8'", "'>f8'", "'|O'", "'|V0'", "'<U0'", "'|S2147483647'", "'<f8, <f8'", "('<f8', (1000000000,))"]
DESCRIPTIONS += ["[('a', '<f8'), ('b', '|O')]", "[('a\\n', '<f8')]", "[('a', [('a', [('a', '<f8')])])]"]
DESCRIPTIONS += ["'nonsense'", "None", "__import__('os')"]
DESCRIPTIONS += ["'" + "a" * 5000 + "'", "-" * 5000 + "1", "[" * 150 + "]" * 150]
SHAPES = ["()", "(8,)", "(3, 8)", "(0, 9)", "(-1,)", "(1.5,)", "8", "None", "(True,)", "('8',)", "(" + "1, " * 70 + ")"]
SHAPES += [f"({2**62},)", f"({2**32}, {2**32})", f"({10**15},)"]


@st.composite
def npy_members(draw):
    """An array file whose header and data do not agree."""
    description, shape = draw(st.sampled_from(DESCRIPTIONS)), draw(st.sampled_from(SHAPES))
    fortran_order = draw(st.sampled_from(["False", "True", "0"]))
    header = f"{{'descr': {description}, 'fortran_order': {fortran_order}, 'shape': {shape}}}"
    header = draw(st.sampled_from([header, header + "\n", header[:-1], "", "\x00" * 20]))
    version = draw(st.sampled_from([(1, 0), (2, 0), (3, 0), (9, 9)]))
    length = draw(st.sampled_from([len(header), len(header), len(header), 0, 2**16 - 1]))
    size = struct.pack("<H" if version == (1, 0) else "<I", length)
    data = draw(st.one_of(st.binary(max_size=64), st.just(np.arange(24.0).tobytes()), st.just(np.ones(8).tobytes())))
    return b"\x93NUMPY" + bytes(version) + size + header.encode("latin-1") + data


@st.composite
def archives(draw, marker: Path):
    """Zip archives of a good recording with additional or replaced members that are invalid."""
    buffer = io.BytesIO()
    good = zipfile.ZipFile(io.BytesIO(npz(variables())))
    members = {info.filename: good.read(info) for info in good.infolist()}
    odd = st.one_of(
        npy_members(),
        st.binary(max_size=100),
        st.just(pickled(marker)),
        st.just(object_array(marker)),
        st.just(npz(variables())),
    )
    names = [f"{name}.npy" for name in ODD_NAMES if "\x00" not in name]
    names += ["roi", "folder/", "../../roi.npy", "C:\\roi.npy"]
    extra = draw(st.lists(st.tuples(st.sampled_from(names), odd), min_size=1, max_size=3))
    method = draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]))
    replace = draw(st.booleans())
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members.items():
            if not (replace and name in dict(extra)):
                archive.writestr(name, content)
        for name, content in extra:
            archive.writestr(name, content)
    prefix = draw(st.sampled_from([b"", b"", b"", object_array(marker), pickled(marker), b"#!/bin/sh\n"]))
    return prefix + buffer.getvalue()


def pickled(marker: Path) -> bytes:
    """A pickle that creates the file `marker` when it is loaded."""
    return b"cpathlib\nPath.touch\n(cpathlib\nPath\n(S" + repr(str(marker)).encode() + b"\ntRtR."


def object_array(marker: Path) -> bytes:
    """An array of objects whose pickle creates the file `marker`."""
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + pickled(marker)


# MATLAB 4 and 5, written byte by byte


def mat4() -> bytes:
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, variables(), format="4", oned_as="row")
    return buffer.getvalue()


@st.composite
def mat4_files(draw):
    """Version 4 files with arbitrary headers."""
    number = st.one_of(st.integers(-(2**31), 2**31 - 1), st.sampled_from([0, 1, 3, 8, 50000, 2**16, 2**31 - 1, -1]))
    parts = [mat4()] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from([0, 1, 2, 10, 11, 20, 30, 50, 51, 52, 1000, 2000, 4051]))
        numbers = [draw(number) for _ in range(3)]
        name_length = draw(st.one_of(st.integers(-3, 20), number))
        parts.append(struct.pack("<5i", kind, *numbers, name_length) + draw(st.binary(max_size=80)))
    return b"".join(parts)


def element(kind: int, content: bytes) -> bytes:
    return struct.pack("<2I", kind, len(content)) + content + bytes(-len(content) % 8)


def matrix(mat_class: int, dims: tuple, name: bytes, content: bytes, flags: int = 0) -> bytes:
    """A version 5 matrix of one class; `content` are the bytes after its name."""
    head = element(6, struct.pack("<2I", mat_class | flags << 8, 0)) + element(5, struct.pack(f"<{len(dims)}i", *dims))
    return element(14, head + element(1, name) + content)


def nested_cells(depth: int) -> bytes:
    """A compressed version 5 file with nested cells."""
    inner = matrix(6, (1, 1), b"", element(9, struct.pack("<d", 1.0)))
    layers, size = [inner], len(inner)
    for _ in range(depth):
        kind, length = struct.unpack("<2I", matrix(1, (1, 1), b"", b"")[:8])
        layers.append(struct.pack("<2I", kind, length + size) + matrix(1, (1, 1), b"", b"")[8:])
        size += len(layers[-1])
    return MAT5_HEADER + element(15, zlib.compress(matrix(1, (1, 1), b"roi", b"".join(reversed(layers)))))


@st.composite
def mat5_elements(draw, depth: int = 0):
    """Version 5 matrices of any class, with dimensions and contents that may not agree."""
    shapes = [(3, 8), (1, 8), (0, 0), (1, 1), (2, 1), (2**31 - 1, 2**31 - 1), (-1, 8), (8,), (), (1, 1, 8)]
    dims = draw(st.sampled_from(shapes))
    mat_class = draw(st.integers(0, 20))
    content = draw(
        st.one_of(
            st.just(element(9, np.arange(24.0).tobytes())),
            st.just(element(9, np.ones(8).tobytes())),
            st.tuples(st.integers(0, 20), st.binary(max_size=60)).map(lambda pair: element(*pair)),
            st.binary(max_size=60),
        )
    )
    if depth < 3 and draw(st.booleans()):
        inner = draw(st.lists(mat5_elements(depth=depth + 1), max_size=3))
        fields = element(5, struct.pack("<i", draw(st.sampled_from([8, 0, -1, 64]))))
        fields += element(1, b"a".ljust(8, b"\0") * 2)
        content = draw(st.sampled_from([b"", fields])) + b"".join(inner)
    name = draw(st.sampled_from([b"roi", b"Trial", b"Time", b"speed", b"nic_output", b"", b"\xff", b"a" * 80]))
    return matrix(mat_class, dims, name, content, draw(st.sampled_from([0, 2, 4, 8, 255])))


@st.composite
def mat5_files(draw):
    elements = draw(st.lists(mat5_elements(), min_size=1, max_size=4))
    if draw(st.booleans()):
        elements = [element(15, zlib.compress(content)) for content in elements]
    offset = draw(st.sampled_from([0, 0, 0, 128, 2**32, 2**63, 136]))
    header = MAT5_HEADER[:116] + struct.pack("<Q", offset) + MAT5_HEADER[124:]
    return header + b"".join(elements)


# MATLAB 7.3, built with HDF5

CLASSES = ["double", "single", "uint32", "logical", "char", "cell", "struct", "function_handle", "canonical empty"]
CLASSES += ["FileWrapper__", "table", "string", "java.x", "COM.x", "nonsense", "\xff"]
ATTRIBUTES = ["MATLAB_empty", "MATLAB_sparse", "MATLAB_object_decode", "MATLAB_int_decode", "MATLAB_global"]
# Larger than any number that the other inputs hold for that variable.
SECRET = 987654321.5
# What `_make` makes.
DATA_SETS = {
    "numbers": {"data": np.ones((8, 1))},
    "promise": {"shape": (2**40, 2**20), "dtype": "f8", "chunks": (1024, 1)},
    "text": {"data": ["/roi", "a\nb"], "dtype": h5py.string_dtype()},
    "compound": {"data": np.ones((8, 1), [("real", "f8"), ("other", "f4")])},
    "scalar": {"data": 1.0},
    "null": {"data": h5py.Empty("f8")},
    "enum": {"shape": (8, 1), "dtype": h5py.enum_dtype({"a": 0, "b": 1}, basetype="i1")},
}
LINKS = ["external link", "soft link"]
GROUPS = ["struct", "hard cycle", "sparse"]
OTHERS = ["references", "reference cycle", "external storage", "virtual", "region", "type"]


def write_secret(path: Path) -> int:
    """Write a file whose numbers must not get into a recording, and return the offset of its numbers."""
    with h5py.File(path, "w") as file:
        return store(file, "roi", np.full((1, 8), SECRET)).id.get_offset()


def as_mat73(path: Path) -> None:
    """Put the header of version 7.3 before HDF5 content that was written with a user block."""
    with path.open("r+b") as file:
        file.write(MAT73_HEADER)


def mat73(path: Path, change, libver=None) -> None:
    """Write a version 7.3 file with a good recording, changed by ``change(file)``."""
    path.unlink(missing_ok=True)
    with h5py.File(path, "w", userblock_size=MAT73_BLOCK, libver=libver) as file:
        for name, values in variables().items():
            store(file, name, values)
        change(file)
    as_mat73(path)


def store(group, name: str, values: np.ndarray, matlab_class: str = "double") -> h5py.Dataset:
    dataset = group.create_dataset(name, data=np.atleast_2d(values).T)
    dataset.attrs["MATLAB_class"] = np.bytes_(matlab_class)
    return dataset


@st.composite
def hdf5_plans(draw):
    """Variables that `write_hdf5` adds to a recording or replaces in it, and the version of HDF5."""
    entry = st.tuples(
        st.sampled_from(["roi", "Trial", "Time", "speed", "nic_output", "#subsystem#", "#refs#", "other", "a\nb", "é"]),
        st.sampled_from([*DATA_SETS, *LINKS, *GROUPS, *OTHERS]),
        st.sampled_from(CLASSES),
        st.dictionaries(st.sampled_from(ATTRIBUTES), st.sampled_from([0, 1, 2, 3, -1, 2**31]), max_size=2),
        st.sampled_from(["", "", "names", "reference", "numbers"]),
    )
    return draw(st.lists(entry, min_size=1, max_size=4)), draw(st.sampled_from(["earliest", "latest"]))


def write_hdf5(path: Path, plan: tuple, secret: tuple[Path, int]) -> None:
    """Write a version 7.3 file with a good recording, changed as in `plan`; external links point to `secret`.

    `secret` is a file of `write_secret` and the offset of its numbers.
    """
    entries, version = plan

    def change(file: h5py.File) -> None:
        for name, kind, matlab_class, attributes, fields in entries:
            if name in file:
                del file[name]
            _make(file, name, kind, secret)
            if kind in LINKS:
                continue
            made = file[name]
            names = np.array([b"a", b"EnumerationInstanceTag"])
            fields_of = {"names": names, "reference": made.ref, "numbers": np.arange(3)}
            made.attrs["MATLAB_class"] = np.bytes_(matlab_class.encode("latin-1"))
            for attribute, value in (attributes | ({"MATLAB_fields": fields_of[fields]} if fields else {})).items():
                made.attrs[attribute] = value

    mat73(path, change, version)


def _make(file: h5py.File, name: str, kind: str, secret: tuple[Path, int]) -> None:
    outside, start = secret
    if kind in GROUPS:
        group = file.create_group(name)
    match kind:
        case "external link":
            file[name] = h5py.ExternalLink(str(outside), "/roi")
        case "soft link":
            file[name] = h5py.SoftLink("/Time" if name != "Time" else "/nothing")
        case "struct":
            store(group, "ROIactivities", np.ones((8, 3)))
            store(group, "behavioralVariables", np.array([[0xDD000000, 2, 1, 1, 1, 1]], dtype=np.uint32), "table")
        case "hard cycle":
            group["again"] = group
        case "sparse":
            for part, values in {"jc": [0, 2**40, 1], "ir": [2**40, -5], "data": [1.0, 2.0]}.items():
                group[part] = np.array(values)
        case "references":
            file.create_dataset(name, data=np.array([[file.ref, h5py.Reference()]], dtype=h5py.ref_dtype))
        case "reference cycle":
            dataset = file.create_dataset(name, (1, 2), dtype=h5py.ref_dtype)
            dataset[...] = dataset.ref
        case "external storage":
            file.create_dataset(name, (8, 1), dtype="f8", external=[(str(outside), start, 64)])
        case "virtual":
            layout = h5py.VirtualLayout((8, 1), dtype="f8")
            layout[...] = h5py.VirtualSource(str(outside), "roi", shape=(8, 1))
            file.create_virtual_dataset(name, layout)
        case "region":
            target = file.create_dataset(None, data=np.arange(4.0))
            file.create_dataset(name, data=np.array([target.regionref[:2]], h5py.regionref_dtype))
        case "type":
            file[name] = np.dtype("f8")
        case _:
            file.create_dataset(name, **DATA_SETS[kind])


# Files for single tests


def cell_of(file: h5py.File, name: str, *members) -> h5py.Dataset:
    """A cell array of references to `members`."""
    cell = file.create_dataset(name, data=np.array([[member.ref for member in members]], dtype=h5py.ref_dtype))
    cell.attrs["MATLAB_class"] = np.bytes_("cell")
    return cell


def hidden_external(path: Path, secret: tuple[Path, int]) -> None:
    """A data set that is stored in another file; only a cell refers to it, no link."""
    address = {}

    def change(file: h5py.File) -> None:
        outside, start = secret
        hidden = file.create_dataset("hidden", (8, 1), dtype="f8", external=[(str(outside), start, 64)])
        hidden.attrs["MATLAB_class"] = np.bytes_("double")
        cell_of(file, "cell", hidden)
        for name in ("hidden", "speed"):
            address[name] = struct.pack("<Q", h5py.h5o.get_info(file[name].id).addr)

    mat73(path, change)
    before, nodes, links = path.read_bytes().partition(b"SNOD")
    assert b"SNOD" not in links and links.count(address["hidden"]) >= 1
    # The link of that name now points to another variable.
    path.write_bytes(before + nodes + links.replace(address["hidden"], address["speed"], 1))


def cell_in_itself(file: h5py.File) -> None:
    cell = cell_of(file, "cell", file)
    cell[...] = cell.ref


def cells_doubling(file: h5py.File) -> None:
    """Cells that each contain the previous cell twice: a few kB that become 2^60 arrays."""
    inner = file["speed"]
    for number in range(60):
        inner = cell_of(file, f"cell{number}", inner, inner)


def huge_promise(file: h5py.File) -> None:
    """An array of 69 GB of which nothing is stored."""
    dataset = file.create_dataset("huge", (2**20, 2**13), dtype="f8", chunks=(1024, 1))
    dataset.attrs["MATLAB_class"] = np.bytes_("double")
