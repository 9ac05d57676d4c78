"""The tutorial, run as a reader runs it: its outputs are those that the page shows."""

import contextlib
import io
import re
import shlex

import pytest
from PIL import Image
from workflow_project import CHECKOUT, Project

PAGE = (CHECKOUT / "docs/tutorial.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"```(python|yaml|sh|text)\n(.*?)```", re.DOTALL)
# Another processor or library changes the last bits, and trainings are chaotic (docs/speed.md).
TOLERANCE = 0.2
NUMBER = r"-?\d*\.\d+"


def number(text: str) -> float | None:
    return float(text) if re.fullmatch(NUMBER, text) else None


def assert_shown(printed: str, shown: str) -> None:
    """Words and whole numbers are the same, other numbers nearly."""
    assert len(printed.split()) == len(shown.split()), printed
    for one, other in zip(printed.split(), shown.split(), strict=True):
        if (value := number(one)) is not None and number(other) is not None:
            assert value == pytest.approx(number(other), abs=TOLERANCE), printed
        else:
            assert one == other, printed


def test_the_comparison_sees_other_words_and_other_numbers():
    assert_shown("a 0.25 10", "a 0.30 10")
    for printed in ("b 0.30 10", "a 0.60 10", "a 0.30 11", "a 0.30"):
        with pytest.raises(AssertionError):
            assert_shown(printed, "a 0.30 10")


@pytest.mark.slow
def test_the_page_shows_what_its_code_prints(tmp_path, monkeypatch):
    project = Project.create(tmp_path / "project")
    (project.root / "data").mkdir()
    monkeypatch.chdir(project.root)
    names, printed, n_shown = {}, "", 0
    for kind, text in BLOCK.findall(PAGE):
        if kind == "python":
            with contextlib.redirect_stdout(io.StringIO()) as output:
                exec(compile(text, "docs/tutorial.md", "exec"), names)
            printed = output.getvalue()
        elif kind == "yaml":
            (project.root / "mine.yaml").write_text(text, encoding="utf-8")
        elif kind == "sh":
            command = shlex.split(text.replace("\\\n", " "))
            assert command[0] == "snakemake"
            project.run(*command[1:])
        else:
            assert_shown(printed, text)
            n_shown += 1
    assert n_shown == 5
    # The conclusion holds whatever the last bits are.
    study = names["pd"].read_csv("results/tables/tutorial.csv")
    scores = study[study["seed"] == "1"].set_index("protocol")["r2_neuron"]
    assert scores["published"] > 0.1 > scores["heldout"]
    with (
        Image.open("results/figures/tutorial.png") as made,
        Image.open(CHECKOUT / "docs/figures/tutorial.png") as shown,
    ):
        assert made.size == shown.size
