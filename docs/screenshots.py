"""Pictures of the MLflow UI for docs/figures, taken in a browser: `python docs/screenshots.py`.

Run it in a project whose seed sweep has finished (`make sweep`). It needs selenium, Chromium and its driver (Debian's
chromium and chromium-driver).
"""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.ui import WebDriverWait

from odevae.tracking.ui import HOST, command, wait_for

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
DRIVER = "chromedriver"
SIZE = (1400, 900)
# A page loads in seconds; a busy machine takes longer.
PAGE_S = 120
STUDY = "seed_sweep"
# What each picture shows, and a text that is there once the page is complete.
PICTURES = {"mlflow_scores": ("scores", "score/best_r2"), "mlflow_curves": ("learning-curves", "validation/r2")}


@contextmanager
def served(project: Path) -> Iterator[str]:
    """The address of the UI of a project, as `make ui` starts it."""
    with closing(socket.socket()) as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    address = f"http://{HOST}:{port}/"
    with subprocess.Popen(command(port), cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            wait_for(server, address)
            yield address
        finally:
            server.terminate()


@contextmanager
def browser() -> Iterator[WebDriver]:
    """A browser without a window, with nothing kept from an earlier visit."""
    options = webdriver.ChromeOptions()
    options.binary_location = next(filter(None, map(shutil.which, BROWSERS)))
    # Chromium refuses to start as root in its own sandbox, as in most containers.
    sandbox = [] if os.getuid() else ["--no-sandbox"]
    for argument in ("--headless=new", "--disable-gpu", "--disable-dev-shm-usage", *sandbox):
        options.add_argument(argument)
    driver = webdriver.Chrome(options=options, service=Service(shutil.which(DRIVER)))
    try:
        width, height = SIZE
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        yield driver
    finally:
        driver.quit()


def wait_for_text(driver: WebDriver, *texts: str) -> str:
    """The page's text as a reader sees it, once it has all of these."""
    found = ""

    def complete(_) -> bool:
        nonlocal found
        found = driver.find_element(By.TAG_NAME, "body").text
        return all(text in found for text in texts)

    WebDriverWait(driver, PAGE_S, ignored_exceptions=[StaleElementReferenceException]).until(
        complete, f"the page does not show {texts}"
    )
    return found


def main() -> int:
    figures = Path(__file__).parent / "figures"
    with served(Path.cwd()) as address, browser() as driver:
        driver.get(address)
        wait_for_text(driver, STUDY, "matching runs")
        start = driver.current_url
        for name, (view, text) in PICTURES.items():
            mode = "" if view == "scores" else "&compareRunsMode=CHART"
            driver.get("about:blank")
            driver.get(start.split("&")[0] + f"&viewStateShareKey={view}{mode}")
            wait_for_text(driver, text, "matching runs")
            # Charts are drawn after their titles.
            WebDriverWait(driver, PAGE_S).until(
                lambda _, view=view: view == "scores" or driver.find_elements(By.CSS_SELECTOR, ".scatterlayer path")
            )
            driver.save_screenshot(str(figures / f"{name}.png"))
            print(figures / f"{name}.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
