"""What a job imports: a module that it does not use costs it up to a second of CPU time."""

import ast
import gc
import subprocess
import sys
from pathlib import Path

import pytest

from odevae.jobs.garbage import collector_paused

PROJECT = Path(__file__).resolve().parents[1]
MODELS = [f"odevae.models.{path.stem}" for path in sorted((PROJECT / "src/odevae/models").glob("*.py"))]
HEAVY = {"matplotlib", "mlflow", "pandas", "plotly", "scipy", "sklearn", "torch", "torch._dynamo", "torchdiffeq"}


def heavy_after(code: str) -> set[str]:
    """Those of `HEAVY` that a new process has imported after it ran some code."""
    code += f"\nimport sys; print(*({HEAVY} & set(sys.modules)))"
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(outcome.stdout.split())


def imports_of(script: str) -> str:
    """The import statements of a script of the workflow."""
    tree = ast.parse((PROJECT / "workflow/scripts" / script).read_text(encoding="utf-8"))
    return "\n".join(ast.unparse(node) for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom)))


def test_models_need_torch_alone():
    assert heavy_after(f"import {', '.join(MODELS)}") == {"torch"}


@pytest.mark.parametrize(
    ("script", "needed"),
    [
        ("train_model.py", {"torch"}),
        ("evaluate_run.py", {"torch"}),
        ("plot_run.py", {"matplotlib"}),
        ("draw_run_figure.py", {"matplotlib", "torch"}),
    ],
)
def test_a_job_imports_what_it_uses(script, needed):
    # MLflow is imported when the store is opened.
    assert heavy_after(imports_of(script)) <= needed


def test_a_training_does_not_import_the_compiler():
    code = """
import torch
from odevae.training.optimisers import Adam
from odevae.training.reproducibility import seed_everything
seed_everything(0)
weight = torch.nn.Parameter(torch.ones(2))
optimiser = Adam([weight])
optimiser.zero_grad()
weight.sum().backward()
torch.nn.utils.clip_grad_norm_([weight], 1.0)
optimiser.step()
optimiser.load_state_dict(optimiser.state_dict())
"""
    assert heavy_after(code) == {"torch"}


def test_the_collector_goes_on_after_a_pause():
    with pytest.raises(ValueError), collector_paused():
        assert not gc.isenabled()
        raise ValueError
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0
    gc.unfreeze()
