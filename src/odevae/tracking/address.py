"""Which store a workflow uses, whether it is allowed, and what ``results/mlflow/store.json`` says about it."""

import os
import re
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from odevae.errors import OdevaeError
from odevae.storage.files import read_json
from odevae.tracking.filesystems import network_file_system

VARIABLE = "MLFLOW_TRACKING_URI"
DEFAULT_URI = "sqlite:///mlflow.db"
SQLITE = "sqlite:///"
SERVER = ("http://", "https://")
STORE_RECORD = Path("results/mlflow/store.json")
# Of one study: how often its record could not be completed.
OUTAGES = "results/mlflow/{study}.outages"


def store_uri(config: dict, environment: Mapping[str, str] = os.environ) -> str:
    """The address of the store: ``tracking.uri`` of the configuration, else `VARIABLE`, else a SQLite file.

    It may hold a password: print and keep `redacted` forms only.
    """
    return config["tracking"].get("uri") or environment.get(VARIABLE) or DEFAULT_URI


def check_store(config: dict, mounts: Iterable[tuple[str, str]], environment: Mapping[str, str] = os.environ) -> None:
    """Refuse a store that would lose records or reveal a password.

    Args:
        config: the checked configuration.
        mounts: as from `filesystems.mounted`.
        environment: variables of the process.

    Raises:
        OdevaeError: for an address of another kind, a password in the configuration, and a SQLite file on a network
            file system.
    """
    uri = store_uri(config, environment)
    from_variable = not config["tracking"].get("uri") and environment.get(VARIABLE)
    origin = VARIABLE if from_variable else "config: tracking.uri"
    if not uri.startswith((SQLITE, *SERVER)):
        raise OdevaeError(
            f"{origin}: {redacted(uri)!r} is no store that jobs can share; give sqlite:/// and a file, or the http:// "
            "or https:// address of an MLflow server (docs/tracking.md)."
        )
    if is_server(uri):
        if not from_variable and "@" in urlsplit(uri).netloc:
            raise OdevaeError(
                f"{origin}: {redacted(uri)!r} holds a user name or a password, and reports repeat the configuration; "
                "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD instead."
            )
        return
    database = Path(uri.removeprefix(SQLITE)).resolve()
    if found := network_file_system(database, mounts):
        kind, mount_point = found
        raise OdevaeError(
            f"{origin}: the SQLite file {database} would lie on a network file system ({kind} at {mount_point}), where "
            "jobs on several nodes damage it; start an MLflow server and give its address (docs/tracking.md)."
        )


def is_server(uri: str) -> bool:
    return uri.startswith(SERVER)


def absolute(uri: str) -> str:
    """The same store, whatever the working directory is later."""
    return f"{SQLITE}{Path(uri.removeprefix(SQLITE)).resolve()}" if uri.startswith(SQLITE) else uri


def redacted(text: str) -> str:
    """The text with every user name and password of an address in it replaced by stars."""
    return re.sub(r"(\w+://)\S*@", r"\1***@", text)


def stores_made(uri: str, record: Path) -> int:
    """How often the store had to be made, with the time to come if the file of an embedded one is not there now."""
    missing = uri.startswith(SQLITE) and not Path(uri.removeprefix(SQLITE)).exists()
    try:
        return read_json(record).get("stores_made", 0) + missing
    except OdevaeError:
        return int(missing)


def new_store_record(previous: dict, uri: str, folder: str, made: int) -> dict:
    """What `STORE_RECORD` says of a store, and of the stores that were used before it.

    Args:
        previous: what it said until now, empty if there was none.
        uri: the address of the store.
        folder: name of the project's folder, by which people know the project on a server.
        made: see `stores_made`.
    """
    earlier = previous.get("earlier", [])
    if previous and previous["uri"] != redacted(uri):
        earlier = [*earlier, {name: previous[name] for name in ("uri", "made_at")}]
    return {
        "uri": redacted(uri),
        # Several projects on one server may have studies of the same name.
        "project": previous.get("project") or f"{re.sub(r'[^A-Za-z0-9_.-]', '_', folder)}-{uuid.uuid4().hex[:12]}",
        "made_at": datetime.now(UTC).isoformat(),
        "stores_made": made,
        "working": False,
        "earlier": earlier,
    }


def project_of(uri: str, record: Path) -> str:
    """The project's name on the server; empty for a SQLite file, which belongs to one project.

    Raises:
        OdevaeError: if the record names another store, or is missing or damaged.
    """
    content = read_json(record)
    if content["uri"] != redacted(uri):
        raise OdevaeError(
            f"this job's store is {redacted(uri)} but {record} names {content['uri']}; give every job the same "
            f"{VARIABLE}, or write the address into the configuration."
        )
    return content.get("project", "") if is_server(uri) else ""


def outages_of(study: str) -> int:
    """How often the record of a study could not be completed, as the rule sync_study counts it."""
    file = Path(OUTAGES.format(study=study))
    return int(file.read_text(encoding="utf-8")) if file.exists() else 0
