"""Show the project's record in a browser: `make ui`."""

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import webbrowser
from contextlib import closing
from pathlib import Path
from urllib.error import URLError

from odevae.errors import OdevaeError
from odevae.tracking.address import DEFAULT_URI, SQLITE

HOST = "127.0.0.1"
# Jobs of the server that evaluate language models: two more processes that nobody needs here.
os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
# A server imports for some seconds before it answers.
START_S, ASK_EVERY_S = 120, 0.5


def command(port: int) -> list[str]:
    """What starts the server for the store in the working directory, on this machine's loopback address only."""
    store = ["--backend-store-uri", DEFAULT_URI, "--default-artifact-root", "mlartifacts"]
    return [
        *(sys.executable, "-m", "mlflow", "server", "--app-name", "odevae", *store),
        *("--host", HOST, "--port", str(port), "--workers", "1"),
    ]


def require_ready(port: int) -> None:
    """Refuse what a server would only fail at later.

    Raises:
        OdevaeError: if there is no store, or the port is taken.
    """
    database = Path(DEFAULT_URI.removeprefix(SQLITE))
    if not database.exists():
        raise OdevaeError(f"there is no {database} here yet; run make sweep, or snakemake sync if results/ has runs.")
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            raise OdevaeError(f"port {port} is in use; choose another one: make ui PORT={port + 1}.") from None


def wait_for(server: subprocess.Popen, address: str) -> None:
    """Return when the server answers, or has ended, or has had `START_S`."""
    deadline = time.monotonic() + START_S
    while server.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{address}health", timeout=5):
                return
        except (URLError, OSError):
            time.sleep(ASK_EVERY_S)


def has_desktop() -> bool:
    return sys.platform in ("darwin", "win32") or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=5000)
    port, address = (chosen := parser.parse_args().port), f"http://{HOST}:{chosen}/"
    try:
        require_ready(port)
    except OdevaeError as error:
        print(error, file=sys.stderr)
        return 1
    # Whoever ends this program ends the server. A shell without job control starts what ends in & deaf to SIGINT.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    print("The server starts; this takes some seconds.", flush=True)
    with subprocess.Popen(command(port), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            wait_for(server, address)
            if server.poll() is None:
                print(f"Open {address} (stop with Ctrl-C).", flush=True)
                if has_desktop():
                    webbrowser.open(address)
            return server.wait()
        except KeyboardInterrupt:
            server.terminate()
            return 0


if __name__ == "__main__":
    sys.exit(main())
