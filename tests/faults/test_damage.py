"""Files that were cut, changed, swapped or left by an older version: found, named, and never in a table."""

import io
import json
import os
import shutil
import sqlite3
import zipfile
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from workflow_project import small_config

from odevae.storage.files import read_json

pytestmark = pytest.mark.slow

RUN = "disc/heldout/split0/quick/d2_ls5e-4_seed1"
FOLD = "disc/heldout/split0/pca"


@pytest.fixture(scope="module")
def whole(finished, tmp_path_factory):
    """The finished project, narrowed to one run."""
    project = finished.copy(tmp_path_factory.mktemp("whole") / "project")
    content = small_config()
    content["studies"]["small"] |= {"protocols": ["heldout"], "seeds": [1]}
    project.write_config(content)
    shutil.rmtree(project.root / "results/disc/published")
    shutil.rmtree(project.root / "results" / RUN.replace("seed1", "seed2"))
    project.run()
    return project


def cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def flipped(path: Path) -> None:
    """One bit, in the middle of what the file holds; in an archive, of its largest member."""
    content = path.read_bytes()
    middle = len(content) // 2
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            largest = max(archive.infolist(), key=lambda member: member.compress_size)
        # A bit between two members changes nothing that is read. The content follows the name and an entry of 20 bytes.
        name = largest.filename.encode()
        middle = content.index(name, largest.header_offset) + len(name) + 20 + largest.compress_size // 2
    path.write_bytes(content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :])


def older(path: Path) -> None:
    """As the version before this one left it: no seal, schema 1."""
    if path.suffix == ".json":
        path.write_text(json.dumps({"schema": 1} | read_json(path)), encoding="utf-8")
    else:
        with np.load(path) as file:
            arrays = {name: file[name] for name in file.files if name not in ("schema", "sha256")}
        np.savez(path, **arrays)


# What is damaged, how, and a target that has to read it; test_files.py and test_verification.py have more combinations.
READ_BY = {
    "disc/recording.npz": (cut, f"results/{FOLD}/audit.json"),
    f"{FOLD}/trials.npz": (flipped, f"results/{RUN}/metrics.json"),
    f"{FOLD}/preprocessing.json": (older, f"results/{RUN}/metrics.json"),
    f"{RUN}/run.json": (flipped, "results/tables/small.csv"),
    f"{RUN}/checkpoint.pt": (flipped, f"results/{RUN}/metrics.json"),
    f"{RUN}/history.csv": (cut, f"results/{RUN}/manifold.json"),
    f"{RUN}/metrics.json": (older, "results/tables/small.csv"),
    f"{RUN}/predictions.npz": (older, f"results/{RUN}/manifold.json"),
}


@pytest.mark.parametrize("name", READ_BY)
def test_damage_ends_in_a_sentence_and_after_its_advice_the_table_is_there(whole, tmp_path, name):
    project = whole.copy(tmp_path / "project")
    path = project.root / "results" / name
    damage, target = READ_BY[name]
    damage(path)
    # Newer than what was made from it, as any file that somebody touched.
    outcome = project.snakemake(target)
    assert outcome.code != 0, outcome.output
    assert "error: results/" + name in outcome.output, outcome.output
    assert "run the workflow again" in outcome.output
    path.unlink()
    project.run("results/tables/small.csv")
    assert project.scores() == whole.scores()


def test_damage_that_keeps_its_date_is_found_by_verify(whole, tmp_path):
    project = whole.copy(tmp_path / "project")
    assert "1 runs verified, 0 problems" in project.run("verify")
    # A file of each kind that is read, one of a run at a time; test_verification.py has all files of a run.
    read = ((f"{FOLD}/trials.npz", "tables/small.csv"), (f"{FOLD}/audit.json",), (f"{RUN}/checkpoint.pt",))
    groups = [[project.root / "results" / name for name in names] for names in read]
    contents = {path: path.read_bytes() for path in chain(*groups)}

    def change(path: Path, how) -> None:
        dates = path.stat().st_atime_ns, path.stat().st_mtime_ns
        how(path)
        os.utime(path, ns=dates)

    for paths in groups:
        for path in paths:
            change(path, flipped)
        outcome = project.snakemake("verify")
        assert outcome.code != 0
        for path in paths:
            assert f"problem: {path.relative_to(project.root)}: " in outcome.output, outcome.output
            change(path, lambda path: path.write_bytes(contents[path]))
    for path in contents:
        change(path, flipped)
    assert project.planned() == {}


def test_a_corrupted_database_costs_a_warning_and_no_result(whole, tmp_path):
    project = whole.copy(tmp_path / "project")
    database = project.root / "mlflow.db"
    database.write_bytes(b"This was a database." * 100)
    with pytest.raises(sqlite3.DatabaseError):
        sqlite3.connect(database).execute("SELECT * FROM runs")
    # Where training finds such a store: tests/test_workflow.py.
    assert "warning: tracking is off for the rest of this job" in project.run("--forcerun", "plot_run")
    assert project.scores() == whole.scores()
