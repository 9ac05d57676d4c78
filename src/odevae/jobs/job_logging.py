"""What every workflow script needs: a log file, and one sentence instead of a traceback for a mistake of the user."""

import errno
import gc
import io
import logging
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import TextIO

from odevae.errors import OdevaeError

# For scripts; a module of the package uses logging.getLogger(__name__), whose messages arrive here too.
log = logging.getLogger("odevae")

# A full disk, the end of a quota, a limit on the size of files.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

# Exit codes of a process that a signal ends, as shells count them.
_STOPPED = {128 + number: number.name for number in (signal.SIGTERM, signal.SIGINT)}


@contextmanager
def stage(log_path: str | Path) -> Iterator[None]:
    """Send messages of `log`, and everything printed inside, to the console and to `log_path`.

    An `OdevaeError` or a full disk ends the process with one sentence and status 1; any other error keeps its
    traceback. SIGTERM (a cluster wants its node back) and SIGINT (Ctrl-C) become a `SystemExit`.
    """
    Path(log_path).parent.mkdir(parents=True, exist_ok=True)
    gc.freeze()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    with _logging_to(log_path) as file:
        try:
            yield
        except OdevaeError as error:
            log.error(f"error: {error}")
            sys.exit(1)
        except SystemExit as stop:
            # Logged here: the signal may have interrupted a message, and its handler must not begin another.
            if stop.code in _STOPPED:
                log.warning(f"stopped by {_STOPPED[stop.code]}")
            raise
        except Exception as error:
            if not isinstance(error, OSError) or error.errno not in _NO_ROOM:
                # Python prints it on the console itself.
                traceback.print_exc(file=file)
                raise
            log.error(
                f"error: {error.filename or 'a file'}: cannot be written ({error.strerror}); make room there and run "
                "the workflow again, what is finished is kept."
            )
            sys.exit(1)
        finally:
            gc.freeze()


def _leave(signal_number: int, frame) -> None:
    """End as an exception does, so that what is computed can be saved; a second signal must not cut that short."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + signal_number)


class _Handler(logging.StreamHandler):
    """Writes a message in one piece, because parallel jobs share the console.

    A message that a full disk or a closed console refuses does not end the job; a result that cannot be written does.
    """

    def handleError(self, record: logging.LogRecord) -> None:
        pass


class _Printed(io.TextIOBase):
    """In place of stdout or stderr: each line that a library or a user's model prints becomes a message."""

    def __init__(self, level: int):
        self.level, self.begun = level, ""

    def write(self, text: str) -> int:
        lines, end, self.begun = (self.begun + text).rpartition("\n")
        if end:
            log.log(self.level, lines)
        return len(text)

    def end(self) -> None:
        """Write a last line that has no end."""
        if self.begun:
            self.write("\n")


@contextmanager
def _logging_to(path: str | Path) -> Iterator[TextIO]:
    """Information goes to stdout, warnings and errors to stderr, and all of it to the file, which is given."""
    # Not a FileHandler: a library that configures logging, as MLflow does, closes those.
    file = open(path, "w", encoding="utf-8")  # noqa: SIM115
    handlers = information, problems, _ = _Handler(sys.stdout), _Handler(sys.stderr), _Handler(file)
    information.addFilter(lambda record: record.levelno < logging.WARNING)
    problems.setLevel(logging.WARNING)
    level, propagate = log.level, log.propagate
    # A handler of the root logger may write to the redirected stderr, which would log the message again.
    log.propagate = False
    log.setLevel(logging.INFO)
    for handler in handlers:
        log.addHandler(handler)
    out, err = _Printed(logging.INFO), _Printed(logging.WARNING)
    try:
        with redirect_stdout(out), redirect_stderr(err):
            yield file
    finally:
        out.end()
        err.end()
        for handler in handlers:
            log.removeHandler(handler)
        log.setLevel(level)
        log.propagate = propagate
        with suppress(OSError):
            file.close()
