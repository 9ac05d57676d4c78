import inspect
from copy import deepcopy
from dataclasses import fields

import pytest
import yaml
from workflow_project import CHECKOUT, with_value

from odevae.config import session_trials
from odevae.config.schema import check_config
from odevae.config.studies import (
    SPLIT_BY_SEED,
    data_files,
    fold_path,
    grouping,
    protocol_settings,
    published_rows_of,
    study_folds,
    study_runs,
    trial_tables,
)
from odevae.data.session_trials import SOURCES
from odevae.data.simulate import SIMULATIONS
from odevae.errors import OdevaeError
from odevae.models.decoders import DECODERS
from odevae.models.dynamics import FIELDS
from odevae.models.encoders import ENCODERS
from odevae.models.presets import PRESETS, ModelSpec
from odevae.models.solvers import SOLVERS
from odevae.protocols.observations import Observations
from odevae.protocols.recipes import PROTOCOLS
from odevae.storage.run_folder import RunKey

SCHEMA = yaml.safe_load((CHECKOUT / "workflow/schemas/config.schema.yaml").read_text(encoding="utf-8"))

PARTS = {"encoder": ENCODERS, "field": FIELDS, "decoder": DECODERS, "solver": SOLVERS}
SPHERE_WITH_FRAMES = {"kind": "sphere", "settings": {"n_frames": 50}}


def config(**study) -> dict:
    return {
        "datasets": {
            "toy": {"simulate": {"kind": "foraging"}},
            "mouse": {
                "fetch": {"url": "https://example.org/files/mouse.mat", "sha256": "a" * 64},
                "published": {"holdout": 3},
            },
            "mine": {"file": "folder/mine.npz", "heldout": {"test_fraction": 0.3}},
        },
        "models": {"longer": {"preset": "v5", "epochs": 300}},
        "studies": {
            "sweep": {
                "datasets": ["toy"],
                "protocols": ["published", "heldout"],
                "models": ["v1"],
                "latent_dims": [3],
                "lambdas_smooth": ["5e-4"],
                "seeds": [1, 42],
            }
            | study
        },
    }


def changed(path: str, value) -> dict:
    """The configuration with one key set, or left out if the value is None."""
    return with_value(config(), path, value)


def checked(whole: dict) -> dict:
    return check_config(whole, deepcopy(SCHEMA))


# Mistakes


def refusal(whole: dict) -> str:
    with pytest.raises(OdevaeError) as caught:
        checked(whole)
    sentence = str(caught.value)
    assert sentence.startswith("config: ") and sentence.endswith(".") and "\n" not in sentence
    return sentence.removeprefix("config: ")


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        ("studies.sweep.seeds", ["1.5"], ".0: 1.5 is not of type 'integer'; expected a"),
        (
            "studies.sweep.seeds",
            ["one"],
            ".0: 'one' is not of type 'integer'; expected a whole number from 0 to 4294967295.",
        ),
        ("studies.sweep.seeds", [1.0], ".0: 1.0 is not of type 'integer'"),
        ("studies.sweep.seeds", 1, ": 1 is not of type 'array'; expected seeds of the runs"),
        ("studies.sweep.seeds", [1, 1], ": [1, 1] has non-unique elements"),
        ("studies.sweep.seeds", [-1], ".0: -1 is less than the minimum of 0"),
        ("studies.sweep.seeds", [2**32], ".0: 4294967296 is greater than the maximum"),
        ("studies.sweep.seeds", [True], ".0: True is not of type 'integer'"),
        ("studies.sweep.splits", [1.0], ".0: 1.0 is not of type 'integer'"),
        ("studies.sweep.latent_dims", [1.0], ".0: 1.0 is not of type 'integer'"),
        ("studies.sweep.latent_dims", [0], ".0: 0 is less than the minimum of 1; expected a whole number, 1 or more."),
        (
            "studies.sweep.lambdas_smooth",
            [5e-4],
            ".0: 0.0005 is not of type 'string'; expected a weight written as text in quotes, such as "
            '"5e-4", because it names a folder.',
        ),
        ("studies.sweep.lambdas_smooth", ["5e-4/.."], ".0: '5e-4/..' does not match"),
        ("studies.sweep.protocols", ["fair"], f".0: 'fair' is not one of {list(PROTOCOLS)}."),
        ("studies.sweep.datasets", ["rat"], " names 'rat', which is not under 'datasets'; known: toy, mouse, mine."),
        ("studies.sweep.published_table", 3, ": 3 is not one of [1, 2]"),
        ("studies.sweep.more", [{"datasets": ["lost"]}], ".0.datasets names 'lost'"),
        ("datasets.mouse.fetch.url", "http://a.b/c.mat", ": 'http://a.b/c.mat' does not"),
        ("datasets.mouse.published.holdout", 0, ": 0 is less than the minimum"),
        (
            "datasets.toy.time_unit",
            "minutes",
            ": 'minutes' is not valid under any of the given schemas; expected what Time of the file counts: s, ms, "
            "us, days, frames (numbers that are used as they are), or the seconds that one unit lasts.",
        ),
        *((f"models.longer.{part}", "nonsense", ": 'nonsense' is not one of ") for part in PARTS),
        ("models.longer.observations", "umap", ": 'umap' is not one of ['pca'"),
        ("models.longer.learning_rate", 0, ": 0 is less than or equal to the minimum"),
        ("protocols.heldout.test_fraction", 1, ": 1 is greater than or equal to"),
    ],
)
def test_a_wrong_value_is_named_by_its_full_key(path, value, complaint):
    assert refusal(changed(path, value)).startswith(path + complaint)


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        (
            "study",
            {},
            "unknown key study at the top level; known keys there: recording, datasets, protocols, models, studies, "
            "benchmark_models, benchmarks, tracking.",
        ),
        ("studies.sweep.sede", [1], "unknown key sede at studies.sweep; known keys there: datasets, protocols"),
        ("models.longer.epoch", 3, "unknown key epoch at models.longer; known keys there: preset, encoder"),
        ("protocols.published.bin", 3, "unknown key bin at protocols.published; known keys there: bins"),
        ("protocols.fair", {}, "unknown key fair at protocols; known keys there: published, heldout"),
        ("datasets.toy.simulate.settings.neurons", 3, "unknown key neurons at datasets.toy.simulate.settings"),
        ("datasets.toy.simulate", SPHERE_WITH_FRAMES, "unknown key n_frames at datasets.toy.simulate.settings"),
        ("studies.sweep.models", None, "'models' is missing at studies.sweep; add it."),
        (
            "studies.sweep.models",
            ["v9"],
            "model 'v9' is neither a preset nor an entry of 'models'; known: v1, v2, v3, v4, v5, v6, shooting, longer.",
        ),
        ("models.v1", {"preset": "v5"}, "models: v1 would share its files with v1, which odevae uses itself"),
        ("models.longer.preset", None, "'preset' is missing at models.longer; add it."),
        (
            "models.longer.preset",
            "v9",
            "models.longer: preset 'v9' does not exist; use one of v1, v2, v3, v4, v5, v6, shooting.",
        ),
        ("studies", None, "'studies' is missing at the top level; add it."),
        ("datasets.toy.file", "a.npz", "datasets.toy needs exactly one of file, fetch, recording and simulate."),
        ("datasets.toy.simulate", None, "datasets.toy needs exactly one of file, fetch, recording and simulate."),
        (
            "datasets.mouse",
            {"recording": "e66"},
            "datasets.mouse.recording: there is no public recording 'e66'; known: foraging_published, e65, ",
        ),
        (
            "datasets.mouse",
            {"recording": "e65", "file": "a.mat"},
            "datasets.mouse needs exactly one of file, fetch, recording and simulate.",
        ),
        ("datasets.mouse", {"recording": []}, "datasets.mouse.recording: there is no public recording []; known: "),
        ("datasets.mouse.fetch.sha256", None, "'sha256' is missing at datasets.mouse.fetch; add it."),
        ("datasets.a-b", {"file": "a"}, "datasets: 'a-b' does not match"),
        (
            "datasets.lost",
            {"file": "session{1}.npz"},
            "datasets.lost: the file session{1}.npz has braces in its name, which Snakemake would take for wildcards; "
            "rename it or give a link to it.",
        ),
    ],
)
def test_a_mistake_is_named_with_its_place(path, value, complaint):
    assert refusal(changed(path, value)).startswith(complaint)


# Defaults


def test_defaults_are_filled_in():
    whole = checked(config())
    assert whole["protocols"] == {
        "published": {"bins": 120, "duration_s": 12, "drop_first_trials": 0, "landmarks": 100, "holdout": 20},
        "heldout": {"drop_first_trials": 0, "test_fraction": 0.1, "validation_fraction": 0.1, "seed": 0},
    }
    assert whole["datasets"]["toy"]["simulate"]["settings"] == {
        "n_neurons": 300,
        "n_frames": 4000,
        "n_trials": 20,
        "seed": 0,
        "noise": 0,
    }
    assert {entry["units"] for entry in whole["datasets"].values()} == {"dF/F"}
    assert whole["studies"]["sweep"]["splits"] == [0]
    assert whole["tracking"] == {}
    del (without := config())["models"]
    assert checked(without)["models"] == {}


def test_what_is_given_stays():
    whole = changed("protocols.published.bins", 60)
    whole["studies"]["sweep"]["splits"] = [2, 5]
    whole = checked(whole)
    assert whole["protocols"]["published"]["bins"] == 60
    assert whole["protocols"]["published"]["holdout"] == 20
    assert whole["studies"]["sweep"]["splits"] == [2, 5]
    # A data set's own settings stay a change to the common ones; they get no defaults of their own.
    assert whole["datasets"]["mouse"]["published"] == {"holdout": 3}


def test_checking_a_checked_configuration_changes_nothing():
    whole = checked(config())
    assert checked(deepcopy(whole)) == whole


def test_protocol_settings_of_a_data_set():
    whole = checked(config())
    assert protocol_settings(whole, "mouse", "published") == whole["protocols"]["published"] | {"holdout": 3}
    assert protocol_settings(whole, "mouse", "heldout") == whole["protocols"]["heldout"]
    assert protocol_settings(whole, "mine", "heldout")["test_fraction"] == 0.3
    assert whole["protocols"]["published"]["holdout"] == 20


def test_where_a_recording_is_read_from():
    whole = checked(config())
    assert data_files(whole, "mouse") == ["data/mouse/mouse.mat"]
    assert data_files(whole, "mine") == ["folder/mine.npz"]
    assert data_files(whole, "toy") == []


def spike_lists(**changes) -> dict:
    """A configuration with a data set of three files, two sessions and their events."""
    whole = config()
    urls = [f"https://example.org/{name}" for name in ("one.mat", "two.mat", "nerve1.mat", "nerve2.mat")]
    whole["datasets"]["snail"] = {
        "fetch": [{"url": url, "sha256": "a" * 64} for url in urls],
        "spikes": {"bin_s": 0.1, "window_s": 0.7, "events": {"nerve": ["nerve1.mat", "nerve2.mat"]}},
        "heldout": {"group_by": "session", "test_fraction": 0.3},
    }
    for name, value in changes.items():
        *parents, last = name.split(".")
        place = whole["datasets"]["snail"]
        for parent in parents:
            place = place[parent]
        place[last] = value
    return whole


def test_spike_lists_come_in_several_files():
    whole = checked(spike_lists())
    names = ["one.mat", "two.mat", "nerve1.mat", "nerve2.mat"]
    assert data_files(whole, "snail") == [f"data/snail/{name}" for name in names]
    assert (whole["datasets"]["snail"]["spikes"]["start_s"], whole["datasets"]["snail"]["spikes"]["gap_s"]) == (0, 0)
    assert grouping(whole, "snail") == {"group_by": "session", "test_fraction": 0.3}
    assert grouping(whole, "mouse") == {}


TWICE = [{"url": f"https://example.org/{folder}/one.mat", "sha256": "a" * 64} for folder in ("a", "b")]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"spikes.window_s": 0.75}, "spikes: a window of 0.75 s is not two or more whole bins of 0.1 s; change"),
        ({"spikes.window_s": 0.1}, "spikes: a window of 0.1 s is not two or more whole bins"),
        ({"spikes.bin_s": 0}, "spikes.bin_s: 0 is less than or equal to the minimum of 0; expected the width of a bin"),
        ({"spikes.bin": 0.1}, "unknown key bin at datasets.snail.spikes; known keys there: bin_s, window_s"),
        ({"spikes": {"bin_s": 0.1}}, "'window_s' is missing at datasets.snail.spikes; add it."),
        ({"spikes.start_s": 5, "spikes.stop_s": 5.5}, "no window of 0.7 s lies between start_s 5 and stop_s 5.5"),
        ({"spikes.gap_s": -1}, "spikes.gap_s: -1 is less than the minimum of 0"),
        ({"spikes.events": {"nerve": ["nerve3.mat"]}}, "spikes.events.nerve names 'nerve3.mat', which is not under"),
        (
            {"spikes.events": {"nerve": ["nerve1.mat"]}},
            "spikes.events.nerve names 1 files, but datasets.snail.fetch",
        ),
        ({"time_unit": "frames"}, "time_unit: spike times are no frame numbers; give s, ms, us or seconds."),
        ({"no_trial": 0}, "no_trial is for files with trials; windows of spike lists need none."),
        ({"fetch": TWICE}, "fetch: two addresses end in the same file name; leave one out."),
        ({"fetch": []}, "fetch: [] should be non-empty"),
        (
            {"fetch": [{"url": "http://a.b/c.mat", "sha256": "a" * 64}]},
            "fetch.0.url: 'http://a.b/c.mat' does not",
        ),
        ({"heldout.gap_s": -1}, "heldout.gap_s: -1 is less than the minimum of 0"),
    ],
)
def test_wrong_settings_of_spike_lists_are_named(changes, complaint):
    assert complaint in refusal(spike_lists(**changes))


def session(trials: dict, **changes) -> dict:
    return changed("datasets.session", {"file": "session.npz", "trials": trials} | changes)


@pytest.mark.parametrize(
    ("trials", "changes", "complaint"),
    [
        ({}, {}, "gives no source; give exactly one of table, intervals, covariate, window_s."),
        ({"table": "t.csv", "window_s": 2}, {}, "gives table and window_s; give exactly one of"),
        ({"window_s": 2, "unit": "s"}, {}, "trials.unit does not go with window_s; window_s goes with gap_s."),
        ({"intervals": "trials", "gap_s": 1}, {}, "trials.gap_s does not go with intervals; remove it."),
        ({"covariate": "lick", "window": 1}, {}, "unknown key window at datasets.session.trials; known keys there"),
        ({"window_s": 0}, {}, "trials.window_s: 0 is less than or equal to the minimum of 0"),
        ({"window_s": 2}, {"no_trial": 0}, "no_trial is for the Trial of the file, which datasets.session.trials"),
        ({"table": "t{1}.csv"}, {}, "the file t{1}.csv has braces in its name"),
        ({"window_s": 2}, {"missing": "ignore"}, "missing: 'ignore' is not one of ['refuse', 'drop', 'interpolate']"),
        ({"window_s": 2}, {"spikes": {"bin_s": 0.1, "window_s": 1}}, "trials is for files with trials; windows of"),
    ],
)
def test_wrong_trials_of_a_session_are_named(trials, changes, complaint):
    assert complaint in refusal(session(trials, **changes))


def test_windows_of_a_session_are_held_out_in_blocks_unless_the_data_set_says_otherwise():
    assert grouping(checked(session({"window_s": "2."})), "session") == {"group_by": "block", "test_fraction": 0.1}
    by_window = session({"window_s": 2}, heldout={"group_by": "window"})
    assert grouping(checked(by_window), "session")["group_by"] == "window"
    assert grouping(checked(session({"table": "t.csv"})), "session") == {}


def test_a_table_of_trials_is_a_file_of_the_data_set():
    whole = checked(session({"table": "t.csv", "unit": "frames"}))
    assert trial_tables(whole, "session") == ["t.csv"]
    assert trial_tables(whole, "mouse") == []


def test_the_schema_knows_every_source_of_trials_and_its_keys():
    keys = {key: tuple(field.name for field in fields(source) if field.name != key) for key, source in SOURCES.items()}
    assert keys == session_trials.SOURCES
    known = {name for key, others in session_trials.SOURCES.items() for name in (key, *others)}
    assert set(SCHEMA["$defs"]["dataset"]["properties"]["trials"]["properties"]) == known


def test_only_spike_lists_may_come_in_several_files():
    whole = spike_lists()
    del whole["datasets"]["snail"]["spikes"]
    assert "snail.fetch gives 4 files, but only spike lists may come in several" in refusal(whole)


def test_checking_leaves_the_schema_alone():
    schema = deepcopy(SCHEMA)
    whole = check_config(config(), schema)
    whole["protocols"]["published"]["bins"] = 7
    assert schema == SCHEMA
    assert check_config(config(), schema)["protocols"]["published"]["bins"] == 120


# Runs of a study


def test_the_grid_of_a_study():
    whole = checked(
        config(datasets=["toy", "mouse"], models=["v1", "longer"], latent_dims=[3, 5], lambdas_smooth=["5e-4", "0"])
    )
    keys = study_runs(whole, "sweep")
    assert len(keys) == len(set(keys)) == 2 * 2 * 2 * 2 * 2 * 2
    assert {key.split for key in keys if key.protocol == "heldout"} == {0}
    assert all(key.split == key.seed for key in keys if key.protocol == "published")
    assert {key.lambda_smooth for key in keys} == {"5e-4", "0"}
    assert len({key.path for key in keys}) == len(keys)


def test_under_published_the_split_is_the_seed_and_under_heldout_the_splits_count():
    keys = study_runs(checked(config(splits=[0, 1, 2])), "sweep")
    assert [(key.protocol, key.split, key.seed) for key in keys] == [
        ("published", 1, 1),
        ("published", 42, 42),
        *(("heldout", split, seed) for split in (0, 1, 2) for seed in (1, 42)),
    ]


def test_paths_of_runs_and_folds():
    whole = checked(config(models=["longer"], seeds=[42], latent_dims=[5]))
    assert [key.path for key in study_runs(whole, "sweep")] == [
        "toy/published/split42/longer/d5_ls5e-4_seed42",
        "toy/heldout/split0/longer/d5_ls5e-4_seed42",
    ]
    assert study_folds(whole, "sweep") == ["toy/published/split42/pca-baseline", "toy/heldout/split0/pca-baseline"]


def test_models_that_see_the_same_share_a_fold():
    whole = checked(config(models=["v1", "longer"], protocols=["heldout"], latent_dims=[3, 5]))
    assert len(study_runs(whole, "sweep")) == 8
    assert study_folds(whole, "sweep") == ["toy/heldout/split0/pca", "toy/heldout/split0/pca-baseline"]
    key = study_runs(whole, "sweep")[0]
    assert RunKey.from_text(**{name: str(value) for name, value in key.as_dict().items()}) == key
    assert fold_path(whole, key) == "toy/heldout/split0/pca"


# The schema and the shipped configuration are in step with the code


def test_the_schema_knows_every_setting_of_a_model():
    known = set(SCHEMA["$defs"]["model"]["properties"])
    assert known == {"preset", "robust"} | {f.name for f in fields(ModelSpec)}


@pytest.mark.parametrize("part", PARTS)
def test_the_schema_knows_every_part_of_a_model(part):
    assert SCHEMA["$defs"]["model"]["properties"][part]["enum"] == list(PARTS[part])


def test_the_schema_knows_every_protocol():
    assert SCHEMA["$defs"]["grid_protocols"]["items"]["enum"] == list(PROTOCOLS)


@pytest.mark.parametrize("kind", SIMULATIONS)
def test_the_schema_knows_the_settings_of_the_simulation(kind):
    simulate = SCHEMA["$defs"]["dataset"]["properties"]["simulate"]["properties"]
    assert simulate["kind"]["enum"] == list(SIMULATIONS)
    settings = SCHEMA["$defs"][kind if kind in SCHEMA["$defs"] else "attractor"]["properties"]
    parameters = inspect.signature(SIMULATIONS[kind]).parameters
    # The frame rate only names the unit of time; the system of an attractor is the kind itself.
    assert set(settings) == set(parameters) - {"frame_rate_hz", "system"}
    for name, rule in settings.items():
        assert rule.get("default") == parameters[name].default, name


def test_each_simulation_takes_its_own_settings():
    lorenz = {"kind": "lorenz", "settings": {"frames_per_trial": 50}}
    settings = checked(changed("datasets.toy.simulate", lorenz))["datasets"]["toy"]["simulate"]["settings"]
    assert (settings["frames_per_trial"], settings["n_neurons"]) == (50, 10)


def test_the_schema_says_which_observations_there_are():
    allowed = SCHEMA["$defs"]["model"]["properties"]["observations"]["enum"]
    assert len({Observations.parse(name) for name in allowed}) == len(allowed) == 4


@pytest.fixture
def shipped() -> dict:
    return checked(yaml.safe_load((CHECKOUT / "config/config.yaml").read_text(encoding="utf-8")))


def test_the_shipped_configuration_is_valid(shipped):
    for study in shipped["studies"]:
        assert study_runs(shipped, study)


def test_the_shipped_sweep_is_table_1(shipped):
    keys = study_runs(shipped, "seed_sweep_source")
    published = [key for key in keys if key.protocol == "published"]
    assert [(key.model, key.latent_dim, key.lambda_smooth, key.seed, key.split) for key in published] == [
        ("v1", 3, "5e-4", seed, seed) for seed in (1, 42, 1337, 2025, 777)
    ]
    assert shipped["studies"]["seed_sweep_source"]["published_table"] == 1
    assert protocol_settings(shipped, "foraging_published", "published")["holdout"] == 20
    assert protocol_settings(shipped, "e65", "published")["holdout"] == 3
    assert set(PRESETS) >= {"v1", "v5"}


def test_further_grids_change_some_keys_of_the_study():
    whole = checked(
        config(
            seeds=[1, 2],
            published_row=1,
            more=[
                {"latent_dims": [8], "seeds": [1], "published_row": 4},
                {"protocols": ["heldout"], "splits": [0, 1], "seeds": [1]},
                {"seeds": [1]},
            ],
        )
    )
    base = config(seeds=[1, 2])["studies"]["sweep"]
    keys = study_runs(whole, "sweep")
    assert len(keys) == len(set(keys))
    assert {key.latent_dim for key in keys} == {*base["latent_dims"], 8}
    assert {key.split for key in keys if key.protocol == "heldout"} == {0, 1}
    rows = published_rows_of(whole, "sweep")
    assert {path.split("/")[1] for path in rows} == {"published"}
    assert {row for path, row in rows.items() if "/d8_" in path} == {4}
    assert {row for path, row in rows.items() if "/d8_" not in path} == {1}


def test_v2s_protocol_takes_models_that_see_components():
    sentence = refusal(config(models=["v5"], protocols=["published_v2"]))
    assert "published_v2 serves models that see pca, but v5 sees pca-baseline" in sentence
    assert checked(config(models=["v2"], protocols=["published_v2"]))


def test_shooting_takes_held_out_trials_and_one_weight():
    studied = {"models": ["shooting"], "protocols": ["heldout"]}
    assert "shooting is fitted on native frames, which the protocol published has not" in refusal(
        config(**studied | {"protocols": ["heldout", "published"]})
    )
    assert "shooting has no smoothness term, so all lambdas_smooth give the same run" in refusal(
        config(**studied, lambdas_smooth=["5e-4", "0"])
    )
    laddered = refusal(config(**studied, ladder=True))
    assert "a ladder takes the flaws of the paper's protocol away from the paper's models" in laddered
    found = checked(config(**studied))
    assert {fold_path(found, key) for key in study_runs(found, "sweep")} == {"toy/heldout/split0/neurons"}


def test_the_rungs_take_the_settings_of_published():
    whole = checked(config())
    for protocol in SPLIT_BY_SEED:
        assert protocol_settings(whole, "mouse", protocol) == protocol_settings(whole, "mouse", "published")


def test_the_same_lambda_twice_is_refused():
    assert "gives the same weight twice" in refusal(config(lambdas_smooth=["5e-4", "0.0005"]))


@pytest.mark.parametrize(
    ("text", "number"), [("1e-3", 1e-3), ("2E2", 200.0), (".5", 0.5), ("5.", 5.0), ("+1e-5", 1e-5), (" 7 ", 7.0)]
)
def test_numbers_may_be_spelled_as_people_write_them(text, number):
    model = checked(changed("models.own", {"preset": "v1", "learning_rate": text, "epochs": "1e2"}))["models"]["own"]
    assert model["learning_rate"] == number and isinstance(model["learning_rate"], float)
    assert model["epochs"] == 100 and isinstance(model["epochs"], int)


@pytest.mark.parametrize("text", ["1e", "nan", "inf", "0x10", "1_000", "1,5", "", "one"])
def test_what_is_no_number_stays_text_and_is_refused(text):
    with pytest.raises(OdevaeError, match=r"config: models\.own\.learning_rate: .* is not of type 'number'"):
        checked(changed("models.own", {"preset": "v1", "learning_rate": text}))
