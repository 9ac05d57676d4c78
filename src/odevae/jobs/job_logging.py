"""What every workflow script does alike: write a log, and end a mistake of the user with one sentence."""

import errno
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from odevae.errors import OdevaeError


class _Tee:
    """A text stream that writes to several streams; each line appears at once in all of them.

    A line is written in one piece, because jobs that run side by side share the console: `print` hands over a line and
    its end one after the other.
    """

    def __init__(self, *streams):
        self.streams = streams
        self.begun = ""

    def write(self, text: str) -> int:
        lines, end, self.begun = (self.begun + text).rpartition("\n")
        self._write(lines + end)
        return len(text)

    def flush(self) -> None:
        self._write(self.begun)
        self.begun = ""

    def _write(self, text: str) -> None:
        for stream in self.streams if text else ():
            stream.write(text)
            stream.flush()

    def isatty(self) -> bool:
        return False


# What a write meets on a full disk, at the end of a quota, and at a limit on the size of files.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


# Exit codes of a process that a signal ends, as shells count them.
_STOPPED = {128 + number: number.name for number in (signal.SIGTERM, signal.SIGINT)}


def _leave(signal_number: int, frame) -> None:
    """End as an exception does, so that what is computed can be saved; a second signal must not cut that short."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + signal_number)


@contextmanager
def stage(log_path: str | Path) -> Iterator[None]:
    """Send everything printed inside to the console and to `log_path`.

    An `OdevaeError` ends the process with its one sentence and status 1, and so does a disk without room; any other
    error keeps its traceback. SIGTERM (the warning of a cluster that wants its node back) and SIGINT (Ctrl-C) become a
    `SystemExit`.
    """
    Path(log_path).parent.mkdir(parents=True, exist_ok=True)
    stdout, stderr = sys.stdout, sys.stderr
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    with open(log_path, "w", encoding="utf-8") as log:
        tees = _Tee(stdout, log), _Tee(stderr, log)
        sys.stdout, sys.stderr = tees
        try:
            yield
        except OdevaeError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(1)
        except SystemExit as stop:
            # Said here: in the handler, printing could meet a print that the signal has interrupted.
            if stop.code in _STOPPED:
                print(f"stopped by {_STOPPED[stop.code]}", file=sys.stderr)
            raise
        except OSError as error:
            if error.errno not in _NO_ROOM:
                traceback.print_exc(file=log)
                raise
            print(
                f"error: {error.filename or 'a file'}: cannot be written ({error.strerror}); make room there and run "
                "the workflow again, what is finished is kept.",
                file=sys.stderr,
            )
            sys.exit(1)
        except Exception:
            traceback.print_exc(file=log)
            raise
        finally:
            for tee in tees:
                tee.flush()
            sys.stdout, sys.stderr = stdout, stderr
