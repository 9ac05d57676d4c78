"""The annotations: what mypy makes of them. pyproject.toml lists the modules that it may not judge yet."""

import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
USER = """
import numpy as np
from odevae import ODEVAE
model = ODEVAE(latent_dim=3, random_state=0).fit([np.zeros((5, 2)), np.ones((5, 2))])
number: float = model.score([np.zeros((5, 2))])
text: str = number
ODEVAE(latent_dims=3)
"""


def mypy(*arguments: str) -> subprocess.CompletedProcess:
    # The cache makes the next call fast; git ignores it.
    command = [sys.executable, "-m", "mypy", *arguments]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)


@pytest.mark.slow
def test_the_annotations_agree():
    outcome = mypy()
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


@pytest.mark.slow
def test_the_checker_knows_the_estimator(tmp_path):
    (tmp_path / "user.py").write_text(USER)
    outcome = mypy(str(tmp_path / "user.py"))
    errors = [line for line in outcome.stdout.splitlines() if "user.py:" in line and "error" in line]
    assert len(errors) == 2, outcome.stdout + outcome.stderr
    assert 'expression has type "float", variable has type "str"' in errors[0]
    assert 'Unexpected keyword argument "latent_dims"' in errors[1]
