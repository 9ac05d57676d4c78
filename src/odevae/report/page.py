"""What every web page of the report is made of. A page opens from disk, without a network, also on a phone."""

import base64
import gzip
import io
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from odevae.storage.files import read_json

# Of a figure, in pixels: sharp on a screen of 1400 pixels and on a phone. WebP of this quality hides no line.
WIDTH, QUALITY = 1200, 75


def rendered(template: str, name: str, provenance: dict[str, str], settings: str, options: str = "", **content) -> str:
    """A page from one of the templates.

    Args:
        template: ``study``, ``ladder`` or ``benchmark``.
        name: of the study or benchmark.
        provenance: what the page rests on, by what it is; the command that makes the page again is added.
        settings: of the study or benchmark in the configuration, as text.
        options: of the command that makes the page again, such as ``--configfile config/mine.yaml``.
        **content: everything else that the template needs.
    """
    command = ["snakemake", "--cores all", *([options] if options else []), f"results/report/{name}.html"]
    return (
        _environment()
        .get_template(f"{template}.html.j2")
        .render(name=name, provenance={"made by": " ".join(command)} | provenance, settings=settings, **content)
    )


def embedded(png: Path) -> str:
    """An image as the address of itself: WebP, at most `WIDTH` pixels wide."""
    with Image.open(png) as image:
        image = image.convert("RGB")
        if image.width > WIDTH:
            image = image.resize((WIDTH, round(image.height * WIDTH / image.width)), Image.Resampling.LANCZOS)
        content = io.BytesIO()
        image.save(content, "WEBP", quality=QUALITY, method=6)
    return f"data:image/webp;base64,{base64.b64encode(content.getvalue()).decode()}"


@cache
def packed_plotly() -> str:
    """plotly.js, packed with gzip; the browser unpacks it when the manifold is opened."""
    from plotly.offline import get_plotlyjs

    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode()


def provenance_of(records: Sequence[dict]) -> dict[str, str]:
    """What results rest on, from rows of a table or contents of ``run.json``."""
    names = {"code": "git_commit", "recordings, SHA-256": "data_sha256", "computers": "host"}
    return {what: distinct(record[name] for record in records) for what, name in names.items()}


def warnings_of(audits: Sequence[Path]) -> list[str]:
    """What the audits of folds say is unusual about their recordings, one sentence for each recording."""
    found = (read_json(audit)["unusual"] for audit in audits)
    return list(dict.fromkeys(sentence for sentence in found if sentence))


def distinct(values: Iterable) -> str:
    """Different values in their order; whole numbers without a decimal point."""
    texts = (f"{value:.0f}" if isinstance(value, float) else str(value) for value in values if value is not None)
    return ", ".join(dict.fromkeys(text for text in texts if text != "several"))


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("odevae.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
