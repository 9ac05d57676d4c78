"""What a person sees in the MLflow UI: a real browser reads the pages of a small sweep."""

import os
import re
import runpy
import signal
import socket
import subprocess
import sys
from contextlib import closing

import pytest
from services import require
from workflow_project import CHECKOUT

from odevae.report.study_table import MEAN_ROWS
from odevae.report.table_files import read_csv
from odevae.tracking.ui import HOST, command, require_ready

SCREENSHOTS = CHECKOUT / "docs/screenshots.py"


@pytest.fixture(scope="module")
def page(finished, tmp_path_factory):
    """A browser at the address that `make ui` prints, and what reads it."""
    require("chromedriver")
    tools = runpy.run_path(str(SCREENSHOTS))
    project = finished.copy(tmp_path_factory.mktemp("ui") / "project")
    with tools["served"](project.root) as address, tools["browser"]() as driver:
        yield address, driver, tools["wait_for_text"]


@pytest.fixture(scope="module")
def rows(finished) -> list[dict]:
    return [row for row in read_csv(finished.root / "results/tables/small.csv") if row["seed"] not in MEAN_ROWS]


@pytest.mark.slow
def test_the_printed_address_shows_the_scores_of_every_run(page, rows):
    address, driver, wait_for_text = page
    driver.get(address)
    text = wait_for_text(driver, "small", "4 matching runs", "score/best_r2", "score/r2_neuron")
    assert "How well do latent neural-ODE models (quick; D = 2) predict trials of disc" in text
    lines = text.splitlines()
    numbers = [float(line) for line in lines if re.fullmatch(r"-?\d+(\.\d+)?(e-\d+)?", line)]
    for row in rows:
        names = [line for line in lines if f"seed {row['seed']:.0f}" in line and row["protocol"] in line]
        assert len(names) == 1, text
        for score in ("best_r2", "final_r2", "r2_neuron"):
            assert pytest.approx(row[score], rel=1e-5) in numbers, (row["protocol"], score)


@pytest.mark.slow
def test_two_clicks_lead_from_the_list_of_experiments_to_the_scores(page):
    address, driver, wait_for_text = page
    driver.get("about:blank")
    driver.get(f"{address}#/experiments")
    text = wait_for_text(driver, "small", "Description")
    assert "e65" not in text, "a study that has no run has no experiment"
    driver.find_element("link text", "small").click()
    wait_for_text(driver, "4 matching runs", "score/best_r2", "Scores")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("view", "shown", "hidden"),
    [
        ("learning-curves", ["Learning curves", "validation/r2", "train/loss"], "train/kl_weight"),
        ("sweep", ["Scores against the settings", "seed vs. score/best_r2"], "train/loss"),
    ],
)
def test_charts_show_what_they_are_named_after(page, view, shown, hidden):
    address, driver, wait_for_text = page
    driver.get(address)
    wait_for_text(driver, "matching runs")
    base = driver.current_url.split("&")[0]
    driver.get("about:blank")
    driver.get(f"{base}&viewStateShareKey={view}&compareRunsMode=CHART")
    assert hidden not in wait_for_text(driver, *shown)


@pytest.mark.slow
def test_models_and_descriptions_are_there(page, rows):
    address, driver, wait_for_text = page
    driver.get(address)
    wait_for_text(driver, "matching runs")
    base = driver.current_url.split("/runs")[0]
    driver.get(f"{base}/models?workflowType=machine_learning")
    text = wait_for_text(driver, "Model name", "Ready")
    assert text.count("Ready") == len(rows)
    run_id = rows[0]["mlflow_run_id"]
    driver.get(f"{base}/runs/{run_id}?workflowType=machine_learning")
    wait_for_text(driver, rows[0]["run_directory"], f"published R2 {rows[0]['best_r2']:.3f}")


def test_what_is_missing_is_said_before_a_server_starts(tmp_path, monkeypatch):
    """Nothing has run yet, or the port is taken: one sentence and no traceback."""
    arguments = [sys.executable, "-m", "odevae.tracking.ui"]
    outcome = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True)
    assert (outcome.returncode, outcome.stderr.count("\n")) == (1, 1)
    assert "there is no mlflow.db here yet; run make sweep" in outcome.stderr
    (tmp_path / "mlflow.db").touch()
    with closing(socket.socket()) as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        outcome = subprocess.run([*arguments, "--port", str(port)], cwd=tmp_path, capture_output=True, text=True)
    assert outcome.returncode == 1
    assert outcome.stderr == f"port {port} is in use; choose another one: make ui PORT={port + 1}.\n"
    monkeypatch.chdir(tmp_path)
    require_ready(port)
    assert str(port) in command(port)


@pytest.mark.slow
def test_the_server_ends_with_the_command(finished, tmp_path, monkeypatch):
    project = finished.copy(tmp_path / "project")
    monkeypatch.chdir(project.root)
    with closing(socket.socket()) as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    # A script that starts a command with & makes it deaf to SIGINT, so this signal asks for more than SIGTERM.
    arguments = [
        "sh",
        "-c",
        'trap "" INT; exec "$@"',
        "sh",
        sys.executable,
        "-m",
        "odevae.tracking.ui",
        "--port",
        str(port),
    ]
    without_desktop = {name: text for name, text in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    started = {"env": without_desktop, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(arguments, **started, start_new_session=True) as ui:
        lines = iter(ui.stdout.readline, "")
        assert any(line == f"Open http://{HOST}:{port}/ (stop with Ctrl-C).\n" for line in lines)
        ui.send_signal(signal.SIGINT)
        try:
            assert ui.wait(timeout=60) == 0
        finally:
            ui.kill()
    # The port is free again.
    require_ready(port)
