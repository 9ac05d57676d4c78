"""A recording, a configuration or results from a stranger execute nothing and are written only where they belong."""

import ast
import hashlib
import json
import pickle
import re
import shutil
from copy import deepcopy
from pathlib import Path, PurePosixPath
from unittest.mock import Mock

import numpy as np
import pytest
import reader_inputs as inputs
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_studies import checked, refusal
from workflow_project import CHECKOUT, Project, small_config, with_value

from odevae.config.studies import data_files, study_folds, study_runs
from odevae.data.download import fetch
from odevae.data.readers import read
from odevae.data.recording import load_recording
from odevae.errors import OdevaeError
from odevae.evaluation.run_scores import evaluate
from odevae.plots import interactive_manifold, save
from odevae.plots.style import new_figure
from odevae.protocols.fold import load_fold, save_fold
from odevae.report.figure_names import FIGURES, MORE_FIGURES, manifold_by
from odevae.report.latent_field import load_latent_field
from odevae.storage.files import read_json, write_json
from odevae.storage.run_folder import CHECKPOINT_FILE, RESUME_FILE, RUN_FILE, TRIALS_FILE
from odevae.training.resume import load_resume_point

MODULES = sorted([*(CHECKOUT / "src").rglob("*.py"), *(CHECKOUT / "workflow/scripts").glob("*.py")])
RULES = [CHECKOUT / "Snakefile", *sorted((CHECKOUT / "workflow/rules").glob("*.smk"))]

ODD_NAMES = [
    "..",
    "../outside",
    "../../outside",
    "/tmp/outside",
    "a/b",
    "a\\b",
    "",
    " ",
    "a ",
    "-rf",
    "_a",
    "1a",
    "a.b",
    ".hidden",
    "a\n",
    "a\x00",
    "a\u202eb",
    "tаbles",  # a Cyrillic letter
    "a" * 61,
    "$HOME",
    "`touch x`",
    "a;b",
    "{wildcards}",
    "a*",
    "~",
    "nan",
    "inf",
]


# The code


def calls(tree: ast.AST):
    """Every call with its full name, for instance ``torch.load``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}


def complaints(source: str) -> list[str]:
    """What in a module could execute or unpickle what it is given."""
    tree, found = ast.parse(source), []
    for name, keywords in calls(tree):
        if name in ("eval", "exec", "compile", "__import__", "os.system", "os.popen", "pd.read_pickle"):
            found.append(name)
        if name == "torch.load" and keywords.get("weights_only") != "True":
            found.append(f"{name} without weights_only=True")
        if name in ("np.load", "numpy.load") and keywords.get("allow_pickle") != "False":
            found.append(f"{name} without allow_pickle=False")
        # Composing gives the nodes of the text and constructs nothing; dumping reads none.
        if name.startswith("yaml.") and name not in ("yaml.safe_load", "yaml.compose", "yaml.safe_dump", "yaml.dump"):
            found.append(name)
        if keywords.get("shell", "False") != "False":
            found.append(f"{name} with a shell")
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, (ast.Import, ast.ImportFrom)) else []
        if isinstance(node, ast.ImportFrom):
            names.append(node.module or "")
        found += [
            name
            for name in names
            if name.partition(".")[0] in ("pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve")
        ]
    return found


@pytest.mark.parametrize(
    "line",
    [
        "eval(text)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path)",
        "np.load(path, allow_pickle=flag)",
        "yaml.load(text, Loader=yaml.Loader)",
        "subprocess.run(text, shell=True)",
        "import pickle",
        "from pickle import loads",
    ],
)
def test_the_check_of_the_code_sees(line):
    assert complaints(line)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_no_module_executes_or_unpickles_what_it_is_given(path):
    assert not complaints(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.name)
def test_no_rule_has_a_shell_command_or_an_unsafe_loader(path):
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"^\s*(shell|run):|\beval\(|\bexec\(|pickle|yaml\.(?!safe_load)\w|shell\(", text, re.MULTILINE)


# Recordings and results


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


@pytest.fixture
def marker(tmp_path):
    """A file that is there if something was executed; the trap itself is known to work."""
    path = tmp_path / "executed"
    pickle.loads(pickle.dumps(Trap(path)))
    assert path.exists()
    path.unlink()
    yield path
    assert not path.exists()


def with_trap(path: Path, marker: Path, name: str) -> None:
    """Put an array of objects that springs the trap into an ``.npz``."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {key: file[key] for key in file.files}
    np.savez(path, **arrays | {name: np.array([Trap(marker)], dtype=object)})


def test_an_npz_with_objects_executes_nothing(tmp_path, marker):
    np.savez(tmp_path / "r.npz", **inputs.variables())
    with_trap(tmp_path / "r.npz", marker, "speed")
    assert "speed" not in read(tmp_path / "r.npz").covariates
    np.savez(tmp_path / "r.npz", **inputs.variables())
    with_trap(tmp_path / "r.npz", marker, "Time")
    for reader in (read, load_recording):
        with pytest.raises(OdevaeError):
            reader(tmp_path / "r.npz")


def test_a_fold_with_objects_executes_nothing(tmp_path, marker, heldout_fold):
    save_fold(heldout_fold, tmp_path)
    with_trap(tmp_path / TRIALS_FILE, marker, "raw")
    with pytest.raises(OdevaeError):
        load_fold(tmp_path)


def test_a_checkpoint_executes_nothing(tmp_path, marker, trained, heldout_fold):
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    torch.save({"best": Trap(marker), "last": {}}, folder / CHECKPOINT_FILE)
    run = read_json(folder / RUN_FILE)
    # A stranger who sends results seals them.
    run["files"][CHECKPOINT_FILE] = hashlib.sha256((folder / CHECKPOINT_FILE).read_bytes()).hexdigest()
    write_json(folder / RUN_FILE, run)
    for use in (evaluate, load_latent_field):
        with pytest.raises(OdevaeError, match=CHECKPOINT_FILE):
            use(heldout_fold, folder)


def test_a_point_to_resume_from_executes_nothing(tmp_path, marker):
    torch.save({"schema": Trap(marker), "sha256": "", "content": Trap(marker)}, tmp_path / RESUME_FILE)
    assert load_resume_point(tmp_path, {}) is None


@pytest.mark.slow
def test_a_recording_that_crashes_its_library_ends_the_stage_with_one_sentence(tmp_path):
    config = small_config()
    config["datasets"] = {"deep": {"file": "deep.mat"}}
    config["studies"]["small"]["datasets"] = ["deep"]
    project = Project.create(tmp_path / "project", config)
    (project.root / "deep.mat").write_bytes(inputs.nested_cells(100_000))
    outcome = project.snakemake("results/deep/recording.npz")
    sentence = (
        "deep.mat: damaged so that the library for MATLAB files crashed on it (SIGSEGV); copy it again or save it "
        "again in MATLAB."
    )
    assert outcome.code == 1, outcome.output
    assert (project.root / "logs/read_recording/deep.log").read_text(encoding="utf-8") == f"error: {sentence}\n"
    assert "Traceback" not in outcome.output


# Configurations


def renamed(place: str, name: str) -> dict:
    """The small configuration with its data set, model or study under another name."""
    config = small_config()
    (old,) = config[place]
    config[place][name] = config[place].pop(old)
    if place != "studies":
        config["studies"]["small"][place] = [name]
    return config


@pytest.mark.parametrize("place", ["datasets", "models", "studies"])
@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_name_that_is_no_plain_word_is_refused(place, name):
    assert f"{place}: " in refusal(renamed(place, name))


@pytest.mark.parametrize(
    ("place", "name", "owner"),
    [
        ("datasets", "tables", "tables"),
        ("datasets", "Figures", "figures"),
        ("datasets", "mlflow", "mlflow"),
        ("studies", "store", "store"),
        ("models", "V1", "v1"),
    ],
)
def test_a_name_of_files_of_odevae_is_refused(place, name, owner):
    assert f"{place}: {name} would share its files with {owner}, which odevae uses itself" in refusal(
        renamed(place, name)
    )


@pytest.mark.parametrize("place", ["datasets", "models", "studies"])
def test_names_that_differ_in_case_only_are_refused(place):
    config = small_config()
    (name,) = config[place]
    config[place][name.upper()] = deepcopy(config[place][name])
    assert f"{name.upper()} would share its files with {name}, which differs in case only" in refusal(config)


def test_covariates_that_differ_in_case_only_are_refused():
    config = with_value(small_config(), "datasets.disc.colour_by", ["x", "X"])
    assert "datasets.disc.colour_by: X would share its files with x" in refusal(config)


@pytest.mark.parametrize("text", ["5e-4\n", "../5", "5e-4/..", "1e999", "nan", "0x1", "0." + "1" * 30, "-1", "٣"])
def test_a_weight_that_is_no_plain_number_is_refused(text):
    assert "lambdas_smooth" in refusal(with_value(small_config(), "studies.small.lambdas_smooth", [text]))


@pytest.mark.parametrize(
    "url",
    [
        "https://data.example/..",
        "https://data.example/.hidden",
        "https://data.example/-rf",
        "https://data.example/a%2F..%2Fb",
        "https://data.example/a.npz\n",
        "https://data.example/a b/c.npz",
        "https://data.example/" + "a" * 101,
        "https://data.example/",
        "http://data.example/a.npz",
        "file:///etc/passwd",
        "https:a.npz",
    ],
)
def test_an_address_that_does_not_end_in_a_plain_file_name_is_refused(url):
    entry = {"fetch": {"url": url, "sha256": "0" * 64}}
    assert "datasets.disc.fetch.url" in refusal(with_value(small_config(), "datasets.disc", entry))


@pytest.mark.parametrize("key", ["units", "colour_by"])
@pytest.mark.parametrize("text", ["", "a\nb", "a\x1b[31m", "a\u2028b", "a" * 101])
def test_text_for_figures_is_one_line(key, text):
    value = [text] if key == "colour_by" else text
    assert f"datasets.disc.{key}" in refusal(with_value(small_config(), f"datasets.disc.{key}", value))


def inside(path: str) -> bool:
    parts = PurePosixPath(path).parts
    return bool(parts) and ".." not in parts and not path.startswith("/") and path.isprintable()


_text = st.one_of(st.sampled_from([*ODD_NAMES, "disc", "v1", "heldout"]), st.text(max_size=8))
_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), _text),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(_text, st.integers(), st.none()), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_any_configuration_stays_inside_results_or_is_refused_with_a_sentence(data):
    config = small_config()
    config["datasets"]["disc"]["fetch"] = {"url": "https://data.example/a.npz", "sha256": "0" * 64}
    if data.draw(st.booleans()):
        del config["datasets"]["disc"]["simulate"]
    for _ in range(data.draw(st.integers(1, 2))):
        place = config
        while True:
            keys = list(place) if isinstance(place, dict) else range(len(place))
            if not keys:
                break
            key = data.draw(st.sampled_from(list(keys)))
            if isinstance(place[key], (dict, list)) and data.draw(st.integers(0, 3)):
                place = place[key]
                continue
            if isinstance(place, dict) and data.draw(st.booleans()):
                place[data.draw(_text)] = place.pop(key)
            else:
                place[key] = data.draw(_values)
            break
    try:
        checked(config)
    except OdevaeError as error:
        assert "\n" not in str(error)
        return
    for study in config["studies"]:
        assert inside(study)
        assert all(inside(key.path) for key in study_runs(config, study))
        assert all(inside(path) for path in study_folds(config, study))
    assert all(inside(path) for dataset in config["datasets"] for path in data_files(config, dataset))


UNSAFE_YAML = [
    "!!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path [executed]]",
    "!!python/object/apply:os.system ['touch executed']",
    "!!python/object/new:os.system ['touch executed']",
    "!!python/name:os.system",
    "!!python/module:os",
]


@pytest.mark.slow
@pytest.mark.parametrize("value", UNSAFE_YAML)
def test_yaml_that_names_python_objects_executes_nothing(tmp_path, value):
    project = Project.create(tmp_path / "project", small_config())
    (project.root / "mine.yaml").write_text(f"tracking: {value}\n", encoding="utf-8")
    outcome = project.snakemake("--dry-run", "--configfile", "mine.yaml")
    assert outcome.code != 0
    assert "Job stats" not in outcome.output
    assert not list(project.root.rglob("executed"))


# What strangers' texts become


@pytest.mark.parametrize("name", [*ODD_NAMES, "x", "../../x", "<script>", "naïve π", "a" * 100, "位" * 100])
def test_a_figure_by_a_covariate_lies_in_its_folder(tmp_path, name):
    folder = tmp_path / "run" / "figures"
    folder.mkdir(parents=True)
    save(new_figure(1, 1, ""), folder / f"{manifold_by(name)}.png")
    files = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()]
    assert files == [f"run/figures/{manifold_by(name)}.png"]


def test_every_covariate_has_figures_of_its_own():
    covariates = [*ODD_NAMES, "a-b", "a--b", "位", "速", "x", "position_x"]
    others = {*FIGURES, *MORE_FIGURES}
    assert len(others | set(map(manifold_by, covariates))) == len(others) + len(covariates)
    assert manifold_by("position_x") == "manifold_trials_position_x"


@pytest.mark.parametrize(
    "text", ["<script>alert(1)</script>", "</script><script>alert(1)</script>", "<img src=x onerror=a()>"]
)
@pytest.mark.parametrize("empty", [False, True])
def test_no_text_becomes_markup_in_the_page(text, empty):
    plain = interactive_manifold(*page_arrays(empty), "speed", "run")
    page = interactive_manifold(*page_arrays(empty), text, f"{text}\n{text}")
    assert text not in page
    for tag in ("<script", "</script", "<img"):
        assert page.lower().count(tag) == plain.lower().count(tag)


def page_arrays(empty: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    n = 0 if empty else 6
    return np.random.default_rng(0).normal(size=(n, 3)), np.repeat([1, 2], n // 2), np.linspace(0, 1, n)


def test_the_page_loads_nothing():
    page = interactive_manifold(*page_arrays(False), "speed", "run")
    assert not re.search(r"<(script|link|img|iframe)[^>]*\s(src|href)=", page)


# Files that are fetched


def test_a_file_that_cannot_be_copied_is_named(tmp_path, monkeypatch):
    (tmp_path / "a.npz").write_bytes(b"content")
    monkeypatch.setattr(shutil, "copyfile", Mock(side_effect=PermissionError(13, "Permission denied")))
    with pytest.raises(OdevaeError, match=r"a\.npz: cannot be copied .*Permission denied"):
        fetch("https://data.example/a.npz", "0" * 64, tmp_path / "out" / "a.npz", folder=tmp_path)
    assert not list((tmp_path / "out").iterdir())


def test_names_of_any_kind_come_through_the_canonical_file(tmp_path):
    names = ["../../x", "<b>", "naïve π", "$x^2$", '"', "'", "%s", "{0}"]
    np.savez(tmp_path / "r.npz", **inputs.variables(), **{name: np.arange(8.0) for name in names})
    recording = read(tmp_path / "r.npz")
    assert set(names) <= set(recording.covariates)
    assert json.loads(json.dumps(list(recording.covariates))) == list(recording.covariates)
