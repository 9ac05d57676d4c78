"""What every workflow script does alike: write a log, and end a mistake of the user with one sentence."""

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from odevae.errors import OdevaeError


class _Tee:
    """A text stream that writes to several streams; each line appears at once in all of them."""

    def __init__(self, *streams):
        self.streams = streams

    def write(self, text: str) -> int:
        for stream in self.streams:
            stream.write(text)
            stream.flush()
        return len(text)

    def flush(self) -> None:
        for stream in self.streams:
            stream.flush()

    def isatty(self) -> bool:
        return False


@contextmanager
def stage(log_path: str | Path) -> Iterator[None]:
    """Send everything printed inside to the console and to `log_path`.

    An `OdevaeError` ends the process with its one sentence and status 1; any other error keeps its traceback.
    """
    Path(log_path).parent.mkdir(parents=True, exist_ok=True)
    stdout, stderr = sys.stdout, sys.stderr
    with open(log_path, "w", encoding="utf-8") as log:
        sys.stdout, sys.stderr = _Tee(stdout, log), _Tee(stderr, log)
        try:
            yield
        except OdevaeError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(1)
        except Exception:
            traceback.print_exc(file=log)
            raise
        finally:
            sys.stdout, sys.stderr = stdout, stderr
