"""Which store is used, which are refused before anything runs, and that no password is printed or kept."""

import socket
import threading
from pathlib import Path

import pytest
from mirrored_runs import write_run
from test_studies import checked
from workflow_project import Project, small_config

from odevae.errors import OdevaeError
from odevae.storage.files import read_json, write_json
from odevae.tracking import Mirrors
from odevae.tracking.address import (
    VARIABLE,
    check_store,
    new_store_record,
    project_of,
    redacted,
    store_uri,
    stores_made,
)
from odevae.tracking.filesystems import mounted, network_file_system
from odevae.tracking.studies import TrackedStudy

LOCAL = [("ext4", "/")]
MOUNTS = [
    *LOCAL,
    ("proc", "/proc"),
    ("nfs4", "/home"),
    ("xfs", "/home/ann/scratch"),
    ("fuse.sshfs", "/mnt/with space"),
    ("lustre", "/mnt/lab"),
    ("ext4", "/mnt/covered"),
    ("cifs", "/mnt/covered"),
    ("fuse.unionfs", "/mnt/fuse"),
]


def tracking(uri: str | None) -> dict:
    return {"tracking": {} if uri is None else {"uri": uri}}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/srv/odevae/mlflow.db", None),
        ("/home/ann/odevae/mlflow.db", ("nfs4", Path("/home"))),
        ("/homely/mlflow.db", None),
        ("/home/ann/scratch/mlflow.db", None),
        ("/mnt/with space/mlflow.db", ("fuse.sshfs", Path("/mnt/with space"))),
        ("/mnt/lab/a/b/c/mlflow.db", ("lustre", Path("/mnt/lab"))),
        ("/mnt/covered/mlflow.db", ("cifs", Path("/mnt/covered"))),
        ("/mnt/fuse/mlflow.db", None),
    ],
)
def test_the_file_system_of_a_path(path, expected):
    assert network_file_system(Path(path), MOUNTS) == expected


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "lustre", "gpfs", "beegfs", "ceph", "afs"])
def test_network_file_systems_are_known(kind):
    for name in (kind, f"fuse.{kind}"):
        assert network_file_system(Path("/a/b"), [(name, "/")]) == (name, Path("/"))


def test_without_a_list_of_mounts_nothing_is_refused(monkeypatch):
    assert ("proc", "/proc") in mounted()
    monkeypatch.setattr("psutil.PROCFS_PATH", "/nonexistent")
    assert mounted() == []
    assert network_file_system(Path("/home/x"), []) is None


def test_the_configuration_wins_over_the_environment():
    address = "http://127.0.0.1:5000"
    assert store_uri(tracking(None), {}) == "sqlite:///mlflow.db"
    assert store_uri(tracking(None), {VARIABLE: address}) == address
    assert store_uri(tracking(None), {VARIABLE: ""}) == "sqlite:///mlflow.db"
    assert store_uri(tracking("sqlite:///other.db"), {VARIABLE: address}) == "sqlite:///other.db"
    assert store_uri(checked(small_config()), {VARIABLE: address}) == address


def refusal(uri: str | None, environment=None, mounts=LOCAL) -> str:
    with pytest.raises(OdevaeError) as refused:
        check_store(tracking(uri), mounts, environment or {})
    return str(refused.value)


def test_stores_that_are_refused():
    sentence = refusal("sqlite:////home/ann/mlflow.db", mounts=MOUNTS)
    assert sentence == (
        "config: tracking.uri: the SQLite file /home/ann/mlflow.db would lie on a network file system (nfs4 at /home), "
        "where jobs on several nodes damage it; start an MLflow server and give its address (docs/tracking.md)."
    )
    assert refusal(None, {VARIABLE: "file:///tmp/mlruns"}).startswith(
        "MLFLOW_TRACKING_URI: 'file:///tmp/mlruns' is no store that jobs can share; give sqlite:/// and a file, "
    )
    sentence = refusal("postgresql://ann:secret@host/mlflow")
    assert sentence.startswith("config: tracking.uri: 'postgresql://***@host/mlflow' is no store")
    sentence = refusal("http://ann:secret@host:5000")
    assert sentence.startswith("config: tracking.uri: 'http://***@host:5000' holds a user name or a password")


def test_stores_that_are_accepted():
    for uri in ("sqlite:////srv/mlflow.db", "http://127.0.0.1:5000", "https://mlflow.lab.example"):
        check_store(tracking(uri), MOUNTS, {})
    check_store(tracking(None), LOCAL, {VARIABLE: "https://ann:secret@mlflow.lab.example"})


def test_a_password_is_never_shown():
    for password in ("secret", "se@cret", "se/cret", "se:cret"):
        text = f"request to https://ann:{password}@host/api failed: http://host:1/x"
        assert redacted(text) == "request to https://***@host/api failed: http://host:1/x"


def test_the_record_of_the_store_keeps_the_project_and_names_earlier_stores():
    first = new_store_record({}, "sqlite:///mlflow.db", "my lab's project", 1)
    assert first["project"].startswith("my_lab_s_project-")
    same = new_store_record(first, "sqlite:///mlflow.db", "moved", 1)
    assert (same["project"], same["earlier"]) == (first["project"], [])
    second = new_store_record(same, "https://ann:secret@host", "moved", 1)
    assert (second["uri"], second["project"]) == ("https://***@host", first["project"])
    assert second["earlier"] == [{"uri": "sqlite:///mlflow.db", "made_at": same["made_at"]}]
    third = new_store_record(second, "http://host", "moved", 1)
    assert [entry["uri"] for entry in third["earlier"]] == ["sqlite:///mlflow.db", "https://***@host"]


def test_a_lost_file_counts_as_one_more_store_until_it_is_made_again(tmp_path):
    uri, record, database = f"sqlite:///{tmp_path}/kept.db", tmp_path / "store.json", tmp_path / "kept.db"
    assert stores_made(uri, record) == 1
    for made in (1, 2):
        write_json(record, new_store_record({}, uri, "lab", stores_made(uri, record)))
        database.touch()
        assert stores_made(uri, record) == made
        database.unlink()
        assert stores_made(uri, record) == made + 1
    assert stores_made("http://host", record) == 2


def test_a_job_with_another_store_than_the_workflow_tracks_nothing(tmp_path, caplog):
    record = tmp_path / "store.json"
    write_json(record, new_store_record({}, "http://ann:secret@host:5000", "lab", 1))
    assert project_of("http://ben:other@host:5000", record).startswith("lab-")
    mirrors = Mirrors(f"sqlite:///{tmp_path}/mlflow.db", tmp_path / "artifacts", [TrackedStudy("demo")], record)
    assert mirrors.run(write_run(tmp_path)) == {}
    (warning,) = caplog.messages
    assert f"this job's store is sqlite:///{tmp_path}/mlflow.db but {record} names http://***@host:5000" in warning
    assert not (tmp_path / "mlflow.db").exists()


@pytest.mark.slow
def test_a_database_on_a_network_file_system_is_refused_before_anything_runs(tmp_path):
    project = Project.create(tmp_path / "project", small_config())
    mounts = [*LOCAL, ("nfs4", str(project.root))]
    project.append("src/odevae/tracking/filesystems.py", f"\n\ndef mounted():\n    return {mounts!r}\n")
    outcome = project.snakemake()
    assert outcome.code == 1
    sentence = f"config: tracking.uri: the SQLite file {project.root}/mlflow.db would lie on a network file system"
    assert sentence in outcome.output
    assert "Job stats" not in outcome.output
    assert "Traceback" not in outcome.output
    assert not (project.root / "results").exists()


@pytest.mark.slow
def test_a_password_in_the_environment_is_kept_nowhere(tmp_path):
    """A server that refuses everybody, named with a password: it is sent there, and is in no file and no output."""
    project = Project.create(tmp_path / "project", small_config())
    requests = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=refuse, args=(listener, requests), daemon=True).start()
        address = f"http://ann:secret7word@127.0.0.1:{listener.getsockname()[1]}"
        output = project.run("-p", "results/mlflow/store.json", cores=1, **{VARIABLE: address})
    assert any(b"Authorization: Basic YW5uOnNlY3JldDd3b3Jk" in request for request in requests)
    (warning,) = [line for line in output.splitlines() if line.startswith("warning: ")]
    assert "401" in warning
    assert read_json(project.root / "results/mlflow/store.json")["uri"].startswith("http://***@127.0.0.1:")
    assert "secret7word" not in output
    kept = [file for file in project.root.rglob("*") if file.is_file() and b"secret7word" in file.read_bytes()]
    assert kept == []


def refuse(listener: socket.socket, requests: list[bytes]) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            requests.append(connection.recv(65536))
            connection.sendall(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
