import base64
import gzip
import io
import re

import numpy as np
from PIL import Image
from test_findings import run

from odevae.plots import rotating_manifold
from odevae.report.page import WIDTH, embedded, packed_plotly, warnings_of
from odevae.report.study_page import study_page
from odevae.storage.files import write_json

FOLDER = "results/mouse7/heldout/split0/v5/d5_ls5e-4_seed1"


def a_row(**changes) -> dict:
    about = {"epochs": 150.0, "final_r2": 0.4, "duration_s": 31.2, "run_directory": FOLDER, "host": "node7"}
    return run("heldout", 1, 0.3) | about | {"git_commit": "a" * 40, "data_sha256": "d" * 64} | changes


def mean_row(n_runs=2.0, seed="mean_all", **changes) -> dict:
    spread = {"best_r2_sd": 0.1, "final_r2_sd": None, "r2_neuron_sd": 0.02}
    return a_row(seed=seed, n_runs=n_runs, run_directory=None, host=None, **spread | changes)


def a_study(figure, rows, manifold=None) -> str:
    runs = [{"row": row, "figures": {"learning_curves": figure}} for row in rows if row["n_runs"] is None]
    return study_page("mine <b>", rows, figure, runs, "seeds: [1]\n", manifold)


def text_of(page: str) -> str:
    """What a reader sees, without scripts and style."""
    page = re.sub(r"<(script|style)[^>]*>.*?</\1>", "", page, flags=re.S)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


def test_the_first_screen_has_question_findings_and_headline_table(figure):
    text = text_of(a_study(figure, [a_row(), mean_row(), mean_row(seed="mean_non_collapsed")]))
    places = [
        text.index(part)
        for part in (
            "How well do latent neural-ODE models (v5; D = 5) predict trials of mouse7, scored under heldout",
            "On held-out trials, given the first frame, v5 (D = 5, mouse7) beats the best trivial guess",
            "protocol runs R2, last epoch",
            "heldout 2 0.400 0.500 ± 0.100 0.300 ± 0.020 0.100 12 0% 0%",
            "mouse7, heldout: v5, D = 5, seed 1 published R2 0.500 at best and 0.400 at the last epoch",
            f"Folder: {FOLDER}",
            "Provenance",
            "seeds: [1]",
        )
    ]
    assert places == sorted(places)
    # The two mean rows are the same where no run collapsed.
    assert text.count("heldout 2 ") == 1


def test_what_is_unusual_about_the_recordings_comes_first(figure, tmp_path):
    sentences = ["mouse7 is unusual, so check it.", None, "mouse7 is unusual, so check it.", "mouse8 is unusual too."]
    audits = [tmp_path / f"audit{number}.json" for number in range(len(sentences))]
    for audit, sentence in zip(audits, sentences, strict=True):
        write_json(audit, {"unusual": sentence})
    warnings = warnings_of(audits)
    assert warnings == [sentences[0], sentences[3]]
    rows = [a_row(), mean_row(), mean_row(seed="mean_non_collapsed")]
    text = text_of(study_page("mine", rows, figure, [], "", None, warnings))
    assert " ".join(warnings) + " On held-out trials" in text


def test_means_without_collapsed_runs_have_a_row_where_some_collapsed(figure):
    broken = a_row(status="diverged", r2_neuron=None, best_r2=0.0, final_r2=0.0, epochs=3.0)
    rows = [a_row(), broken, mean_row(), mean_row(1.0, seed="mean_non_collapsed", r2_neuron_sd=None)]
    text = text_of(a_study(figure, rows))
    assert "heldout, without collapsed runs 1 0.400 0.500 ± 0.100 0.300 0.100 12 0% 0%" in text
    assert "diverged after 3 epochs" in text


def test_what_differs_has_a_column(figure):
    rows = [a_row(), mean_row(), a_row(latent_dim=8.0), mean_row(latent_dim=8.0)]
    text = text_of(a_study(figure, rows))
    assert "protocol D runs" in text and "heldout 8 2" in text


def test_the_page_needs_no_network_and_names_are_escaped(figure):
    points = np.random.default_rng(0).standard_normal((30, 3))
    drawn = rotating_manifold(points, np.repeat([1, 2], 15), points[:, 0], "</script><i>", "title")
    page = a_study(figure, [a_row(), mean_row()], {"row": a_row(), "figure": drawn})
    packed = packed_plotly()
    outside = page.replace(packed, "")
    assert not re.search(r"""(src|href)=["'](?!data:)""", outside)
    assert "http" not in outside.replace("http://www.w3.org", "")
    assert "mine <b>" not in page and "mine &lt;b&gt;" in page
    # A text in the data of the manifold cannot end the script.
    assert outside.count("</script>") == outside.count("<script")
    assert "</script><i>" not in outside
    assert b"Plotly" in gzip.decompress(base64.b64decode(packed))
    assert len(page) < 5e6


def test_a_study_without_a_manifold_carries_no_plotly(figure):
    page = a_study(figure, [a_row(), mean_row()])
    assert "<script" not in page and "Latent manifold" not in page


def test_images_are_made_small(figure):
    address = embedded(figure)
    content = base64.b64decode(address.removeprefix("data:image/webp;base64,"))
    with Image.open(io.BytesIO(content)) as image:
        assert (image.format, image.size) == ("WEBP", (WIDTH, WIDTH // 4))
