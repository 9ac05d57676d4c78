"""The MLflow server with a start page that shows runs: `mlflow server --app-name odevae`.

MLflow 3 opens on the page of its tools for language models, and so does a click on an experiment. Nothing in a store
decides otherwise; the browser's own storage and the address do. This app adds a script to MLflow's page that sets both.
"""

from importlib.resources import files
from pathlib import Path

from fastapi.responses import HTMLResponse
from mlflow.server import app as flask_app
from mlflow.server.fastapi_app import app as mlflow_app


async def start_page() -> HTMLResponse:
    """MLflow's page with our script before its own."""
    page = Path(flask_app.static_folder, "index.html").read_text(encoding="utf-8")
    script = files("odevae.tracking").joinpath("start_page.js").read_text(encoding="utf-8")
    return HTMLResponse(page.replace("<head>", f"<head><script>\n{script}</script>", 1))


mlflow_app.add_api_route("/", start_page, methods=["GET"])
# What is registered first is asked first, and MLflow answers every address.
mlflow_app.router.routes.insert(0, mlflow_app.router.routes.pop())
app = mlflow_app
