import io
import subprocess
import sys

import pytest

from odevae.jobs.job_logging import log as logger
from odevae.jobs.job_logging import stage


def run(tmp_path, body: str) -> tuple[subprocess.CompletedProcess, str]:
    """Run `body` as a stage in a process of its own; gives the process and its log."""
    log = tmp_path / "logs/deep/stage.log"
    script = tmp_path / "script.py"
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    script.write_text(
        f"import sys\nfrom odevae.errors import OdevaeError\nfrom odevae.jobs.job_logging import log, stage\n"
        f"with stage({str(log)!r}):\n{lines}\nprint('after')\n",
        encoding="utf-8",
    )
    process = subprocess.run([sys.executable, script], capture_output=True, text=True)
    return process, log.read_text(encoding="utf-8")


MISTAKE = "print('first')\nraise OdevaeError('this is wrong; do that.')"
NO_ROOM = "import errno\nraise OSError(errno.%s, 'No room', 'results/x.npz')"
CANNOT_BE_WRITTEN = (
    "error: results/x.npz: cannot be written (No room); make room there and run the workflow again, what is finished "
    "is kept.\n"
)
ON_BOTH = "print('to you')\nprint('careful', file=sys.stderr)"


@pytest.mark.parametrize(
    ("body", "status", "stdout", "stderr"),
    [
        (ON_BOTH, 0, "to you\n", "careful\n"),
        (MISTAKE, 1, "first\n", "error: this is wrong; do that.\n"),
        *((NO_ROOM % code, 1, "", CANNOT_BE_WRITTEN) for code in ("ENOSPC", "EDQUOT", "EFBIG")),
    ],
)
def test_what_a_stage_prints_and_its_mistakes_in_one_sentence_are_on_the_console_and_in_the_log(
    tmp_path, body, status, stdout, stderr
):
    process, log = run(tmp_path, body)
    assert process.returncode == status
    assert process.stdout == stdout + ("" if status else "after\n")
    assert process.stderr == stderr
    assert log == stdout + stderr


def test_messages_of_the_package_and_warnings_of_libraries_are_on_the_console_and_in_the_log(tmp_path):
    body = (
        "import logging, warnings\nlog.debug('no')\nlog.info('100 % done')\n"
        "logging.getLogger('odevae.tracking').warning('warning: no store')\n"
        "logging.getLogger('other').warning('a library logs')\nwarnings.warn('a library warns')"
    )
    process, log = run(tmp_path, body)
    assert process.stdout == "100 % done\nafter\n"
    assert log == "100 % done\n" + process.stderr
    assert process.stderr.startswith("warning: no store\na library logs\n")
    assert "UserWarning: a library warns\n" in process.stderr


def test_a_library_that_configures_logging_takes_nothing_from_the_log(tmp_path):
    body = (
        "import logging.config\nlog.info('before')\n"
        "logging.config.dictConfig({'version': 1, 'disable_existing_loggers': False, 'root': {'handlers': ['console']},"
        " 'handlers': {'console': {'class': 'logging.StreamHandler', 'stream': 'ext://sys.stderr'}}})\n"
        "log.warning('careful')"
    )
    process, log = run(tmp_path, body)
    assert (process.stderr, log) == ("careful\n", "before\ncareful\n")


def test_a_log_on_a_full_disk_does_not_end_the_job(tmp_path):
    script = (
        "from odevae.jobs.job_logging import log, stage\nwith stage('/dev/full'):\n    log.info('one')\nprint('two')"
    )
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (process.returncode, process.stdout, process.stderr) == (0, "one\ntwo\n", "")


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("open('/nonexistent/file')", "FileNotFoundError: [Errno 2] No such file or directory: '/nonexistent/file'"),
    ],
)
def test_any_other_error_keeps_its_traceback(tmp_path, line, error):
    process, log = run(tmp_path, f"print('first')\n{line}")
    assert process.returncode == 1
    for text in (process.stderr, log):
        assert "Traceback (most recent call last)" in text
        assert line in text
        assert text.rstrip().endswith(error)
    assert log.startswith("first\n")
    assert process.stderr.count("Traceback") == 1


def test_each_line_is_in_the_log_at_once(tmp_path):
    log = tmp_path / "stage.log"
    with stage(log):
        print("now")
        assert log.read_text(encoding="utf-8") == "now\n"


def test_a_line_is_written_in_one_piece_so_that_parallel_jobs_cannot_cut_it_in_two(tmp_path, monkeypatch):
    class Console(io.StringIO):
        def write(self, text):
            pieces.append(text)
            return super().write(text)

    pieces: list[str] = []
    monkeypatch.setattr(sys, "stdout", Console())
    with stage(tmp_path / "stage.log"):
        print("one", "line")
        print("begun", end="", flush=True)
        print(" and ended\nand a last one without an end", end="")
        logger.info("a table\nof two lines")
    assert pieces == ["one line\n", "begun and ended\n", "a table\nof two lines\n", "and a last one without an end\n"]
    assert (tmp_path / "stage.log").read_text(encoding="utf-8") == "".join(pieces)


def test_an_old_log_is_replaced_and_the_streams_are_given_back(tmp_path, capsys):
    log = tmp_path / "stage.log"
    before = sys.stdout, sys.stderr
    for text in ("one", "two"):
        with stage(log):
            print(text)
            assert not sys.stdout.isatty()
    with pytest.raises(ValueError, match="bad"), stage(tmp_path / "other.log"):
        raise ValueError("bad")
    assert (sys.stdout, sys.stderr) == before
    assert log.read_text(encoding="utf-8") == "two\n"
    assert capsys.readouterr().out == "one\ntwo\n"


@pytest.mark.parametrize(("number", "name"), [(15, "SIGTERM"), (2, "SIGINT")])
def test_a_signal_is_named_and_what_is_computed_can_be_saved(tmp_path, number, name):
    body = (
        "import os, time\ntry:\n    os.kill(os.getpid(), %d)\n    time.sleep(60)\n"
        "except BaseException:\n    os.kill(os.getpid(), %d)\n    print('saved')\n    raise"
    )
    process, log = run(tmp_path, body % (number, number))
    assert process.returncode == 128 + number
    assert log == f"saved\nstopped by {name}\n"
    assert "Traceback" not in process.stderr
