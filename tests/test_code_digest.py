import subprocess
import sys
from pathlib import Path

import pytest

from odevae.jobs.code_digest import digest_of_code, transitive_imports

PROJECT = Path(__file__).resolve().parents[1]
SOURCE = PROJECT / "src"
SCRIPTS = sorted(path.name for path in (PROJECT / "workflow/scripts").glob("*.py"))


def modules(script: str, without=("odevae.tracking",)) -> set[str]:
    found = transitive_imports(PROJECT / "workflow/scripts" / script, SOURCE, set(without))
    return {path.relative_to(SOURCE / "odevae").as_posix() for path in found}


@pytest.fixture
def package(tmp_path):
    """A package of a few modules, and a function that lists what a script depends on."""
    files = {
        "odevae/__init__.py": "",
        "odevae/a.py": "from odevae import b\nimport numpy",
        "odevae/b.py": "import odevae.rooms.c as c\n\ndef late():\n    from odevae.d import thing",
        "odevae/d.py": "from odevae.a import something  # in a circle",
        "odevae/alone.py": "import odevae.e",
        "odevae/e.py": "",
        "odevae/rooms/__init__.py": "from odevae import e",
        "odevae/rooms/c.py": "",
        "odevae/rooms/other.py": "import odevae.alone",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")

    def ask(script: str, without=()) -> list[str]:
        (tmp_path / "script.py").write_text(script, encoding="utf-8")
        found = transitive_imports(tmp_path / "script.py", tmp_path, without)
        assert found == sorted(found)
        return [path.relative_to(tmp_path / "odevae").as_posix() for path in found]

    return ask


def test_imports_are_followed(package):
    everything = ["__init__.py", "a.py", "b.py", "d.py", "e.py", "rooms/__init__.py", "rooms/c.py"]
    assert package("from odevae.a import x") == everything
    assert package("import odevae.a") == everything
    assert package("from odevae import a") == everything
    assert package("if True:\n    import odevae.e, sys") == ["__init__.py", "e.py"]
    assert package("import numpy\nimport odevaeish") == []


def test_importing_a_module_runs_the_packages_above_it(package):
    assert package("import odevae.rooms.c") == ["__init__.py", "e.py", "rooms/__init__.py", "rooms/c.py"]


def test_what_is_left_out_takes_along_what_only_it_imports(package):
    assert package("import odevae.rooms.other", without={"odevae.rooms"}) == []
    both = "import odevae.alone\nimport odevae.rooms.other"
    assert package(both, without={"odevae.rooms"}) == ["__init__.py", "alone.py", "e.py"]
    assert package("import odevae.a", without={"odevae.rooms.c", "odevae.d"}) == ["__init__.py", "a.py", "b.py"]
    # A name is left out, not every name that begins like it.
    assert package("import odevae.alone", without={"odevae.a"}) == ["__init__.py", "alone.py", "e.py"]


# The scripts of the workflow


def test_training_depends_on_the_model_and_not_on_figures():
    found = modules("train_model.py", without=())
    assert {"training/loop.py", "training/losses.py", "protocols/fold.py", "metrics.py", "__init__.py"} <= found
    parts = ("__init__", "decoders", "dynamics", "encoders", "odevae", "presets", "solvers")
    assert {f"models/{part}.py" for part in parts} <= found
    others = {f"report/{name}.py" for name in ("embedding", "run_figures", "study_table")}
    others |= {"plots/style.py", "protocols/recipes.py", "protocols/landmarks.py", "evaluation/audit_ladder.py"}
    assert all((PROJECT / "src/odevae" / name).is_file() for name in others)
    assert not others & modules("train_model.py")


@pytest.mark.parametrize("script", ["plot_run.py", "draw_run_figure.py"])
def test_figures_depend_on_the_plots_and_not_on_training(script):
    found = modules(script)
    assert {"plots/__init__.py", "plots/style.py", "report/embedding.py", "report/run_figures.py"} <= found
    assert "protocols/fold.py" in found
    # Of the figures of a run only the field, on demand, needs the model.
    of_the_field = {"report/latent_field.py", "models/dynamics.py"}
    assert of_the_field & found == (of_the_field if script == "draw_run_figure.py" else set())
    assert not {"training/loop.py", "training/losses.py", "evaluation/run_scores.py", "report/study_table.py"} & found


@pytest.mark.parametrize("script", ["plot_benchmark.py", "plot_study.py"])
def test_figures_of_tables_depend_on_tables_and_plots_only(script):
    found = modules(script)
    assert {"report/table_files.py", "plots/style.py"} <= found
    rooms = {name.partition("/")[0] for name in found}
    assert rooms <= {"__init__.py", "errors.py", "benchmark", "jobs", "plots", "report", "storage"}
    benchmark = {name for name in found if name.startswith("benchmark/")}
    light = ("__init__", "families", "dynamics", "comparison")
    assert benchmark <= {f"benchmark/{name}.py" for name in light}
    assert not {"report/study_table.py", "report/verification.py"} & found


def test_an_edit_of_the_losses_trains_again_and_does_nothing_else():
    changed = {script for script in SCRIPTS if "training/losses.py" in modules(script)}
    assert changed == {"train_model.py"}


def test_a_fold_depends_on_its_steps_and_not_on_the_model():
    found = modules("prepare_fold.py")
    steps = ("audit", "landmarks", "preprocessing", "recipes", "splits")
    assert {"data/trials.py", *(f"protocols/{step}.py" for step in steps)} <= found
    assert not {"models/decoders.py", "training/loop.py", "plots/style.py"} & found


@pytest.mark.parametrize("script", SCRIPTS)
def test_tracking_and_its_rooms_can_be_left_out(script):
    left = modules(script)
    assert not [name for name in left if name.startswith("tracking")]
    assert "jobs/job_logging.py" in left
    with_tracking = modules(script, without=())
    assert left <= with_tracking
    if any(name.startswith("tracking") for name in with_tracking):
        assert {"tracking/__init__.py", "tracking/mirror.py"} <= with_tracking


@pytest.mark.parametrize("script", ["train_model.py", "prepare_fold.py"])
def test_what_is_found_is_what_python_loads(script):
    """Every module of ours that Python loads for a stage, except tracking, is in the list."""
    source = (PROJECT / "workflow/scripts" / script).read_text(encoding="utf-8")
    lines = map(str.strip, source.splitlines())
    imports = [line for line in lines if line.startswith("from odevae") and "tracking" not in line]
    ours = "m.__file__ for n, m in sys.modules.items() if n.split('.')[0] == 'odevae'"
    code = "\n".join([*imports, f"import sys; print(*({ours}))"])
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    names = {Path(file).resolve().relative_to((SOURCE / "odevae").resolve()).as_posix() for file in loaded}
    assert names == modules(script)


def test_the_digest_of_a_script_follows_what_it_imports_and_nothing_else(tmp_path):
    script, package = tmp_path / "workflow/scripts/train.py", tmp_path / "src/odevae"
    script.parent.mkdir(parents=True)
    package.mkdir(parents=True)
    script.write_text("from odevae.losses import kl\n")
    files = {"__init__": "", "losses": "from odevae.terms import x\n", "terms": "x = 1\n", "plots": ""}
    for name, text in files.items():
        (package / f"{name}.py").write_text(text)
    before = digest_of_code(tmp_path, script)
    (package / "plots.py").write_text("# Another colour.\n")
    assert digest_of_code(tmp_path, script) == before
    seen = {before}
    for path in (script, package / "losses.py", package / "terms.py"):
        path.write_text(path.read_text() + "# Edited.\n")
        seen.add(digest_of_code(tmp_path, script))
    assert len(seen) == 4
    (package / "terms.py").write_text("x = 1\n")
    (package / "losses.py").write_text("from odevae.terms import x\n")
    script.write_text("from odevae.losses import kl\n")
    assert digest_of_code(tmp_path, script) == before
