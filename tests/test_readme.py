"""The script of README, run as it is printed."""

import re
from dataclasses import replace

import matplotlib
import numpy as np
import pytest
from conftest import paper_data_dir
from PIL import Image
from workflow_project import CHECKOUT

from odevae.models.presets import PRESETS

README = (CHECKOUT / "README.md").read_text(encoding="utf-8")
(SCRIPT,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.slow
def test_fifteen_lines_fit_transform_forecast_and_plot(tmp_path, monkeypatch):
    assert len([line for line in SCRIPT.splitlines() if line]) <= 15
    paper_data_dir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    # Only the training is shorter than a reader's.
    monkeypatch.setitem(PRESETS, "v5", replace(PRESETS["v5"], epochs=2))
    matplotlib.use("Agg")
    names = {}
    exec(compile(SCRIPT, "README.md", "exec"), names)
    names["plt"].close("all")
    assert len(names["model"].history_) == 2
    assert names["paths"].shape == (12, 40, 3) and names["future"].shape == (30, 121)
    assert np.isfinite(names["future"]).all()
    for row in names["axes"]:
        (points,) = row[0].collections
        recorded, forecast = row[1].lines
        places = np.asarray(points.get_offsets())
        assert (np.nanstd(places, axis=0) > 0).all()
        assert len(forecast.get_xdata()) == len(recorded.get_xdata()) - 10
    with Image.open(tmp_path / "odevae.png") as image:
        assert image.size == (1000, 700)
