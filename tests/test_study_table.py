import math

import numpy as np
import pandas as pd
import pytest

from odevae.evaluation.run_scores import evaluate
from odevae.protocols.audit import audit
from odevae.report.few_trials import notes_of
from odevae.report.study_table import MEAN_ROWS, READABLE, published_rows, study_table
from odevae.report.table_files import csv_text, latex, markdown, read_csv, write_table
from odevae.storage.files import read_json
from odevae.storage.run_folder import RUN_FILE, RunKey
from odevae.storage.scores import LATENT, REFERENCE, Score, scores_of

REFERENCES = {"training_mean": -0.02, "trial_time_mean": 0.01, "hold_first_frame": -0.9, "hold_last_frame": -0.4}
COLUMNS = [
    *("dataset", "protocol", "model", "latent_dim", "lambda_smooth", "split", "seed", "task", "status", "epochs"),
    *("best_r2", "final_r2", "best_val_loss", "r2_neuron", "r2_pooled", "r", "event_auc", "bits_per_event"),
    *("latent_rank", "participation_ratio", "trivial_r2_neuron", "trivial_bits_per_event"),
    *("test_trials", "shared_trials", "padded_fraction", "published_final_r2", "published_best_val_loss"),
    *("mlflow_run_id", "git_commit", "data_sha256"),
    *("n_runs", "best_r2_sd", "final_r2_sd", "r2_neuron_sd"),
    *("run_directory", "host", "duration_s"),
]


def study_rows(runs: list[dict], published_table: int) -> list[dict]:
    return study_table(runs, published_table).to_dict("records")


def a_run(seed=1, final=0.5, **changes) -> dict:
    """What `tabulate_study` hands over for one run."""
    about = {"protocol": "published", "status": "ok", "latent_dim": 3, "commit": "a" * 40, "split": seed} | changes
    part = "validation" if about["protocol"] == "published" else "test"
    diverged = about["status"] == "diverged"
    scores = [Score(part, "raw", "onset", REFERENCE, name, "r2_neuron", value) for name, value in REFERENCES.items()]
    if not diverged:
        for metric, value in {"latent_rank": 2.0, "participation_ratio": 1.5}.items():
            scores.append(Score(part, LATENT, "onset", "best", "mean", metric, value))
            scores.append(Score(part, LATENT, "onset", "last", "mean", metric, 9.0))
        for metric, value in {"r2_neuron": final - 0.2, "r2_pooled": final - 0.1, "r": final + 0.1}.items():
            scores.append(Score(part, "raw", "onset", "best", "mean", metric, value))
            # Neighbours that must not be taken for it.
            scores.append(Score(part, "raw", "onset", "last", "mean", metric, 9.0))
            scores.append(Score(part, "pca", "onset", "best", "mean", metric, 9.0))
    return {
        "run": {
            "key": RunKey("e65", about["protocol"], about["split"], "v1", about["latent_dim"], "5e-4", seed).as_dict(),
            "status": about["status"],
            "epochs": 17 if diverged else 150,
            "best_r2": 0.0 if diverged else final + 0.05,
            "final_r2": 0.0 if diverged else final,
            "best_val_loss": math.inf if diverged else 1 - final,
            "git_commit": about["commit"],
            "data_sha256": "d" * 64,
            "run": f"e65/{seed}",
            "host": "node7",
            "duration_s": 12.5,
        },
        "metrics": {"scores": [s._asdict() for s in scores], "scored_part": part, "task": "onset"},
        "audit": {"shared_trials": 1.0, "padded_fraction": 0.25, "scored_trial_ids": about.get("trials", [4, 7, 7, 9])},
        "mlflow_run_id": f"id{seed}",
    }


@pytest.fixture
def sweep() -> list[dict]:
    return [a_run(1, 0.9), a_run(42, 0.6), a_run(777, status="diverged")]


def test_the_row_of_a_run(sweep):
    assert csv_text(study_table(sweep, published_table=1)).splitlines()[:2] == [
        ",".join(COLUMNS),
        "e65,published,v1,3,5e-4,1,1,onset,ok,150,0.95,0.9,0.1,0.7,0.8,1,,,2,1.5,0.01,,3,1,0.25,0.9789,0.06642,"
        f"id1,{'a' * 40},{'d' * 64},,,,,results/e65/1,node7,12.5",
    ]
    row = study_rows(sweep, published_table=1)[0]
    assert list(row) == COLUMNS
    assert row["lambda_smooth"] == "5e-4"
    assert all(row[name] is None for name in ("n_runs", "best_r2_sd", "final_r2_sd", "r2_neuron_sd"))


def test_a_diverged_run_keeps_its_row(sweep):
    row = study_rows(sweep, published_table=1)[2]
    assert (row["status"], row["epochs"], row["final_r2"], row["best_val_loss"]) == ("diverged", 17, 0, math.inf)
    assert row["r2_neuron"] is row["r2_pooled"] is row["r"] is None
    assert row["trivial_r2_neuron"] == 0.01
    assert (row["published_final_r2"], row["published_best_val_loss"]) == (0, math.inf)


def test_mean_rows(sweep):
    rows = study_rows(sweep, published_table=1)
    assert [row["seed"] for row in rows] == [1, 42, 777, *MEAN_ROWS]
    every, finished = rows[3:]
    assert every["final_r2"] == pytest.approx((0.9 + 0.6 + 0) / 3)
    assert finished["final_r2"] == pytest.approx(0.75)
    assert every["best_val_loss"] == math.inf
    assert finished["best_val_loss"] == pytest.approx(0.25)
    # A diverged run has no such score to average.
    assert every["r2_neuron"] == finished["r2_neuron"] == pytest.approx((0.7 + 0.4) / 2)
    assert (every["n_runs"], finished["n_runs"]) == (3, 2)
    assert every["final_r2_sd"] == pytest.approx(np.std([0.9, 0.6, 0], ddof=1))
    assert finished["final_r2_sd"] == pytest.approx(np.std([0.9, 0.6], ddof=1))
    assert every["status"] is finished["status"] is None
    assert every["split"] == "several"
    assert every["git_commit"] == "a" * 40
    assert (every["published_final_r2"], finished["published_final_r2"]) == (0.6626, 0.8282)
    assert every["mlflow_run_id"] is None


def test_each_group_has_its_own_mean():
    runs = [a_run(1, 0.9), a_run(1, 0.3, protocol="heldout", split=0), a_run(42, 0.7), a_run(1, 0.5, latent_dim=5)]
    rows = study_rows(runs, published_table=0)
    assert [(row["protocol"], row["latent_dim"], row["seed"]) for row in rows] == [
        *(("published", 3, seed) for seed in (1, 42, *MEAN_ROWS)),
        *(("heldout", 3, seed) for seed in (1, *MEAN_ROWS)),
        *(("published", 5, seed) for seed in (1, *MEAN_ROWS)),
    ]
    assert rows[2]["final_r2"] == pytest.approx(0.8)
    assert rows[5]["final_r2"] == pytest.approx(0.3)
    assert rows[5]["final_r2_sd"] is None
    assert rows[5]["split"] == 0


def test_a_score_that_is_not_defined_makes_the_mean_undefined(sweep):
    row = next(row for row in sweep[0]["metrics"]["scores"] if Score(**row).name.endswith("raw/onset/best/mean/r"))
    row["value"] = math.nan
    rows = study_rows(sweep, published_table=1)
    assert math.isnan(rows[0]["r"]) and math.isnan(rows[3]["r"]) and rows[3]["r2_neuron"] == pytest.approx(0.55)


def test_several_commits_are_not_passed_off_as_one():
    rows = study_rows([a_run(1), a_run(42, commit="b" * 40)], published_table=0)
    assert rows[2]["git_commit"] == "several"


def test_when_every_run_collapsed_there_is_no_mean_of_the_others():
    rows = study_rows([a_run(1, status="diverged"), a_run(2, status="diverged")], published_table=1)
    every, finished = rows[2:]
    assert every["final_r2"] == 0
    assert finished["final_r2"] is None
    assert (every["n_runs"], finished["n_runs"]) == (2, 0)


# The paper's values


def test_values_of_the_paper_are_in_the_rows_of_the_same_seed_under_its_protocol_only():
    runs = [a_run(1), a_run(2), a_run(1, protocol="heldout", split=0)]
    for row in study_rows(runs, published_table=1):
        expected = {1: 0.9789, "mean_all": 0.6626, "mean_non_collapsed": 0.8282}.get(row["seed"])
        assert row["published_final_r2"] == (expected if row["protocol"] == "published" else None)
    for row in study_rows(runs, published_table=0):
        assert row["published_final_r2"] is row["published_best_val_loss"] is None


def test_table_1_as_published():
    table = published_rows(1)
    assert list(table) == ["1", "42", "1337", "2025", "777", "mean_all_seeds", "mean_non_collapsed_seeds"]
    assert [row["final_r2"] for row in table.values()] == [0.9789, 0.6757, 0.9116, 0.7467, 0.0, 0.6626, 0.8282]
    assert table["777"]["best_val_loss"] == math.inf
    assert table["1"]["best_r2"] is None
    # The paper's means are those of its own rows.
    seeds = [row["final_r2"] for row in list(table.values())[:5]]
    assert np.mean(seeds) == pytest.approx(0.6626, abs=5e-5)
    assert np.mean(seeds[:4]) == pytest.approx(0.8282, abs=1e-4)


def test_table_2_as_published():
    assert [row["final_r2"] for row in published_rows(2).values()] == [0.4368, -0.23, -0.13, -0.2, 0.0956]
    assert published_rows(0) == {}


# Files


def test_csv_round_trip(sweep, tmp_path):
    write_table(study_table(sweep, published_table=1), READABLE, tmp_path / "table.csv")
    again = read_csv(tmp_path / "table.csv")
    for row, original in zip(again, study_rows(sweep, published_table=1), strict=True):
        assert list(row) == COLUMNS
        for name, value in (original | {"lambda_smooth": 5e-4}).items():
            assert row[name] == (pytest.approx(value, rel=1e-5) if isinstance(value, float) else value), name
    assert again[2]["best_val_loss"] == math.inf


def test_few_trials_are_called_an_anecdote_below_the_table(tmp_path):
    many = {"protocol": "heldout", "split": 0, "trials": [1, 2, 3, 4, 5]}
    table = study_table([a_run(1), a_run(2, trials=[8, 8]), a_run(3, **many)], published_table=0)
    assert list(table["test_trials"]) == [3, 1, 2.0, 2.0, 5, 5.0, 5.0]
    note, few = notes_of(table)
    assert few.startswith("e65, heldout: scored on 5 trials, fewer than 10")
    assert note == "e65, published: scored on 1 trial; that is an anecdote, not a result."
    write_table(table, READABLE, tmp_path / "table.csv", [note])
    assert (tmp_path / "table.md").read_text(encoding="utf-8") == f"{markdown(table, READABLE)}\n{note}\n"
    assert (tmp_path / "table.tex").read_text(encoding="utf-8") == f"{latex(table, READABLE)}\n{note}\n"
    write_table(table, READABLE, tmp_path / "table.csv", ["foraging_long: few"])
    assert (tmp_path / "table.tex").read_text(encoding="utf-8").endswith("\nforaging\\_long: few\n")


def test_the_same_values_give_the_same_bytes(sweep, tmp_path):
    for name in ("one", "other"):
        write_table(study_table(sweep, published_table=1), READABLE, tmp_path / f"{name}.csv")
    for kind in ("csv", "md", "tex"):
        one, other = ((tmp_path / f"{name}.{kind}").read_bytes() for name in ("one", "other"))
        assert one == other
        assert b"\r" not in one
        assert one.endswith(b"\n")
    # Rounding noise beyond six digits does not change a byte.
    sweep[0]["run"]["final_r2"] += 1e-9
    noisy = csv_text(study_table(sweep, published_table=1))
    assert noisy == (tmp_path / "one.csv").read_text(encoding="utf-8")


def test_numbers_and_what_is_missing_in_a_csv_file():
    table = pd.DataFrame([{"n": 3, "x": 2.0, "y": math.nan, "z": "a,b"}, {"n": None, "x": math.inf}], dtype=object)
    table = pd.concat([table[:1], table[1:].assign(y=None, z=None).astype(object)])
    assert csv_text(table) == 'n,x,y,z\n3,2,nan,"a,b"\n,inf,,\n'


def test_markdown(sweep):
    lines = markdown(study_table(sweep, published_table=1), READABLE).splitlines()
    assert len(lines) == 2 + 5
    assert len({line.count("|") for line in lines}) == 1
    assert len({len(line) for line in lines}) == 1, "padded"
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert "final R2 (published definition)" in cells[0]
    column = cells[0].index("final R2 (published definition)")
    assert [row[column] for row in cells[2:]] == ["0.9000", "0.6000", "0.0000", "0.5000 ± 0.4583", "0.7500 ± 0.2121"]
    assert [row[cells[0].index("runs")] for row in cells[2:]] == ["–", "–", "–", "3", "2"]
    assert [row[cells[0].index("D in use")] for row in cells[2:]] == ["2", "2", "–", "2", "2"]
    assert [row[cells[0].index("best validation loss")] for row in cells[2:5]] == ["0.1000", "0.4000", "inf"]
    assert cells[4][cells[0].index("r2_neuron (raw, best epoch)")] == "–"


def test_latex(sweep):
    lines = latex(study_table(sweep, published_table=1), READABLE).splitlines()
    body = [line for line in lines if line.endswith(r"\\")]
    assert len(body) == 1 + 5
    assert len({line.count("&") for line in body}) == 1
    columns = lines[0].removeprefix(r"\begin{tabular}{").rstrip("}")
    assert len(columns) == body[0].count("&") + 1
    assert r"0.5000 $\pm$ 0.4583" in body[4]
    assert r"mean\_all" in body[4]
    text = "\n".join(lines)
    assert "–" not in text and "R2" not in text
    assert lines[-1] == r"\end{tabular}"


def test_table_2_joins_by_row_and_shows_the_oracle():
    runs = [a_run(seed=1, final=0.4), a_run(seed=2, final=0.1), a_run(seed=1, final=0.0, protocol="heldout", split=0)]
    for run in runs:
        part = run["metrics"]["scored_part"]
        run["run"]["spec"] = {"validation_space": "raw"}
        oracle = Score(part, "raw", "onset", REFERENCE, "hold_last_frame", "r2_batched", 0.8)
        run["metrics"]["scores"].append(oracle._asdict())
        run["published_row"] = 2
    rows = study_rows(runs, published_table=2)
    assert list(rows[0]) == [*COLUMNS, "published_best_r2", "hold_last_r2"]
    published = [row for row in rows if row["protocol"] == "published" and row["seed"] not in MEAN_ROWS]
    assert [(row["published_best_r2"], row["published_final_r2"]) for row in published] == [(0.0354, -0.23)] * 2
    (heldout,) = [row for row in rows if row["protocol"] == "heldout" and row["seed"] not in MEAN_ROWS]
    assert heldout["published_final_r2"] is None and heldout["published_best_r2"] is None
    assert all(row["hold_last_r2"] == pytest.approx(0.8) for row in rows)


# Runs that really happened


def test_rows_of_real_runs(heldout_fold, trained, diverged, small):
    runs = []
    for folder in (trained, diverged):
        metrics, _ = evaluate(heldout_fold, folder)
        record = read_json(folder / RUN_FILE)
        runs.append(
            {"run": record, "metrics": metrics, "audit": audit(heldout_fold, small), "mlflow_run_id": "made up"}
        )
    fine, collapsed, every, finished = study_rows(runs, published_table=1)
    values = {score.name: score.value for score in scores_of(runs[0]["metrics"])}
    assert fine["r2_neuron"] == values["test/raw/onset/best/mean/r2_neuron"]
    assert fine["shared_trials"] == fine["padded_fraction"] == 0
    assert (collapsed["status"], collapsed["final_r2"], collapsed["best_val_loss"]) == ("diverged", 0, math.inf)
    assert collapsed["r2_neuron"] is None
    assert collapsed["trivial_r2_neuron"] == fine["trivial_r2_neuron"]
    assert (every["n_runs"], finished["n_runs"]) == (2, 1)
    assert finished["final_r2"] == fine["final_r2"]
