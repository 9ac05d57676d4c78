"""A PostgreSQL and an MLflow server on it, for tests to use, to kill and to start again; both on 127.0.0.1 only."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from services import program, require

START_S = 300


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Postgres:
    """A database cluster in a folder of its own."""

    def __init__(self, folder: Path):
        self.folder, self.port = folder, free_port()
        # PostgreSQL refuses to be run by root.
        user = "postgres" if os.geteuid() == 0 else None
        if user:
            os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
        self._user = {"user": user, "group": user, "extra_groups": []} if user else {}

    def create(self) -> None:
        """Make the cluster and a database in it, and leave it running."""
        self._run("initdb", "-D", self.folder / "data", "-U", "odevae", "-A", "trust", "--no-sync", "-E", "UTF8")
        self.start()
        self._run("createdb", "-h", "127.0.0.1", "-p", self.port, "-U", "odevae", "mlflow")

    @property
    def uri(self) -> str:
        return f"postgresql://odevae@127.0.0.1:{self.port}/mlflow"

    def start(self) -> None:
        options = f"-c listen_addresses=127.0.0.1 -c port={self.port} -c unix_socket_directories='' -c fsync=off"
        self._run(
            *("pg_ctl", "start", "-w", "-t", START_S, "-D", self.folder / "data", "-l", self.folder / "log"),
            *("-o", options),
        )

    def kill(self) -> None:
        """End every process of the cluster at once; what was committed is still there after a start."""
        self._run("pg_ctl", "stop", "-m", "immediate", "-w", "-D", self.folder / "data")

    def query(self, sql: str) -> list[str]:
        """Lines that psql answers."""
        return self._run(
            *("psql", "-h", "127.0.0.1", "-p", self.port, "-U", "odevae", "-d", "mlflow", "-A", "-t", "-c", sql)
        ).splitlines()

    def _run(self, name: str, *arguments) -> str:
        # Into a file and not a pipe, which the server would keep open.
        with tempfile.TemporaryFile("w+") as output:
            code = subprocess.run(
                [program(name), *map(str, arguments)],
                cwd=self.folder,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=START_S,
                **self._user,
            ).returncode
            output.seek(0)
            text = output.read()
        assert code == 0, text
        return text


class Server:
    """`mlflow server`, which keeps artifacts in a folder of its own and serves them itself."""

    def __init__(self, folder: Path, backend: str):
        self.folder, self.backend, self.port = folder, backend, free_port()
        self.artifacts = folder / "artifacts"
        self.process = None

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
        # Neither is needed here, and each is one more process.
        environment |= {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--workers", "2", "--backend-store-uri", self.backend, "--artifacts-destination", self.artifacts]
        with (self.folder / "log").open("a") as log:
            self.process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_S
        while not self._answers():
            said = (self.folder / "log").read_text()[-3000:]
            assert self.process.poll() is None and time.monotonic() < deadline, said
            time.sleep(0.3)

    def kill(self) -> None:
        """End the server and its workers as a power cut does."""
        self.signal(signal.SIGKILL)
        self.process.wait(timeout=60)

    def signal(self, number: int) -> None:
        os.killpg(self.process.pid, number)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False


@contextmanager
def running_services() -> Iterator[tuple[Postgres, Server]]:
    """Both, in a folder that another user can enter; stopped and removed at the end."""
    require("initdb", "pg_ctl", "createdb", "psql")
    root = Path(tempfile.mkdtemp(prefix="odevae-tracking-"))
    root.chmod(0o755)
    for name in ("postgres", "server"):
        (root / name).mkdir()
    postgres = Postgres(root / "postgres")
    server = Server(root / "server", postgres.uri)
    try:
        postgres.create()
        server.start()
        yield postgres, server
    finally:
        if server.process is not None and server.process.poll() is None:
            server.kill()
        if (postgres.folder / "data/postmaster.pid").exists():
            postgres.kill()
        shutil.rmtree(root, ignore_errors=True)
