"""The MLflow store: opened by many jobs at once, created by one of them.

MLflow creates its SQLite schema in the constructor of its client, and jobs that do so at once make each other fail.
Everything that this package does with a SQLite store therefore happens under one file lock next to the database. A
server needs none, because it alone writes.
"""

import logging
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote, unquote

from filelock import FileLock
from mlflow.db import upgrade
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from odevae.tracking.address import SQLITE, absolute

log = logging.getLogger(__name__)

# Where MLflow keeps absolute places of artifacts.
ARTIFACT_COLUMNS = {"experiments": "artifact_location", "runs": "artifact_uri", "logged_models": "artifact_location"}
# Long enough for sixteen jobs that each bring in a long history; only a hung job makes anybody wait this long.
LOCK_WAIT_S = 600.0
LOCK_POLL_S = 0.02
# How long a program that knows nothing of our lock may hold the database; every waiting job waits as long.
BUSY_S = 5.0


def open_store(uri: str) -> MlflowClient:
    """Connect to the store; create or upgrade its schema where needed.

    Many processes may call it at once, also when there is no database yet.

    Raises:
        OSError, sqlite3.Error: if the database cannot be written or is not one.
        MlflowException: if the store cannot be used.
        TimeoutError: see `locked`.
    """
    uri = absolute(uri)
    with locked(uri):
        if not uri.startswith(SQLITE):
            return MlflowClient(tracking_uri=uri)
        database = _database(uri)
        if not database.exists() or database.stat().st_size == 0:
            _create(database)
        require_writable(uri)
        try:
            return MlflowClient(tracking_uri=uri)
        except MlflowException:
            # Usually an older MLflow wrote the schema; if not, the second attempt raises.
            upgrade.callback(uri)
            return MlflowClient(tracking_uri=uri)


@contextmanager
def locked(uri: str) -> Iterator[None]:
    """Be the only writer of a SQLite store among the jobs that use this package; nothing to wait for with a server.

    It works across nodes if the file system supports locks. SQLite's own lock is not enough: it gives up after MLflow's
    20 s and cannot protect "create it unless it exists".

    Raises:
        TimeoutError: if other jobs have held the lock for `LOCK_WAIT_S`.
    """
    if not uri.startswith(SQLITE):
        yield
        return
    database = _database(uri)
    database.parent.mkdir(parents=True, exist_ok=True)
    # The death of the process releases it too.
    with FileLock(f"{database}.lock", timeout=LOCK_WAIT_S, poll_interval=LOCK_POLL_S):
        yield


def follow_folder(uri: str, artifact_root: Path) -> None:
    """Let the artifacts of a SQLite store lie below `artifact_root` again after its folder was moved or copied.

    MLflow keeps absolute paths, so it would read and write artifacts where the folder was: in another project, if the
    folder was copied. Experiments whose artifacts lie elsewhere for another reason are left alone, and so are those of
    a project that still exists, if the database lies outside this one.

    Args:
        uri: absolute; nothing to do for a server.
        artifact_root: absolute, the folder below which each study keeps its artifacts.
    """
    if not uri.startswith(SQLITE):
        return
    inside = _database(uri).parent == artifact_root.parent
    with closing(sqlite3.connect(_database(uri))) as connection:
        moved = {}
        for name, location in connection.execute("SELECT name, artifact_location FROM experiments"):
            own, below = (artifact_root / name).as_uri(), f"/{artifact_root.name}/{quote(name)}"
            old = location.removesuffix(below)
            if location == own or not location.startswith("file:") or old == location:
                continue
            if inside or not Path(unquote(old.removeprefix("file://"))).exists():
                moved[old] = own.removesuffix(below)
        for old, new in moved.items():
            for table, column in ARTIFACT_COLUMNS.items():
                # Not LIKE, where an underscore in a folder's name matches any character.
                connection.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",
                    (new, len(old) + 1, len(old) + 1, f"{old}/"),
                )
            log.warning(f"warning: this project was at {unquote(old)}; the paths in its MLflow store now follow it")
        connection.commit()


def require_writable(uri: str) -> None:
    """Raise at once what MLflow would only raise after retrying for 100 s; nothing to do for a server.

    Raises:
        sqlite3.Error: if the database is missing or damaged, or if another program holds it for `BUSY_S`.
    """
    if not uri.startswith(SQLITE):
        return
    # Opened by an address, because a plain path would be created.
    place = f"{_database(uri).as_uri()}?mode=rw"
    with closing(sqlite3.connect(place, timeout=BUSY_S, uri=True)) as connection:
        connection.execute("SELECT count(*) FROM sqlite_master")
        connection.execute("BEGIN IMMEDIATE")
        connection.rollback()


def _database(uri: str) -> Path:
    return Path(uri.removeprefix(SQLITE))


def _create(database: Path) -> None:
    """Build the schema in another folder and rename it, so that a job killed meanwhile leaves no incomplete file."""
    folder = database.with_name(f".{database.name}.new")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    upgrade.callback(f"{SQLITE}{folder / database.name}")
    os.replace(folder / database.name, database)
    folder.rmdir()
