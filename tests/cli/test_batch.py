"""`caffepy batch`: what its options mean, what it prints, and what it refuses."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from caffepy.cli import main
from tests.batch import sets
from tests.cli import models

FUNCTION = """
def colours(net, data):
    return {"mean": data.mean(axis=(2, 3)), "best": net.blobs["prob"].data[: len(data)].argmax(axis=1)}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("batch")
    paths = models.write(folder)
    found = sets.pictures(folder / "pictures", 6, bad=2)
    (folder / "mine.py").write_text(FUNCTION)
    return {**paths, "folder": folder, "pictures": str(folder / "pictures"), "paths": found}


def run(made, *options, code=0):
    result = CliRunner().invoke(main, ["batch", made["model"], made["weights"], *options])
    assert result.exit_code == code, result.output
    return result


def out_of(made, tmp_path, *options):
    run(made, made["pictures"], "--out", str(tmp_path / "out"), "--as", "npy", "--workers", "1", *options)
    return {path.name.removeprefix("part-00000."): path for path in (tmp_path / "out").glob("part-00000.*")}


def test_classes_are_the_best_of_a_plain_loop(made, tmp_path):
    files = out_of(made, tmp_path, "--classify", "--top", "3", "--labels", made["labels"])
    prob = sets.expected(made["model"], made["weights"], made["paths"], "prob")
    order = {i: np.argsort(-values, kind="stable")[:3] for i, values in prob.items()}
    assert np.load(files["classes.npy"]).tolist() == [order[i].tolist() for i in sorted(order)]
    np.testing.assert_allclose(np.load(files["values.npy"]), [prob[i][order[i]] for i in sorted(order)], atol=1e-6)
    names = [models.LABELS[k] for k in order[0]]
    assert np.load(files["names.npy"])[0].tolist() == names
    assert files["rows.csv"].read_text().splitlines()[:2] == ["index,key,label", f"0,{made['paths'][0].name},"]


def test_a_function_of_ones_own(made, tmp_path):
    files = out_of(made, tmp_path, "--function", f"{made['folder']}/mine.py:colours")
    prob = sets.expected(made["model"], made["weights"], made["paths"], "prob")
    assert np.load(files["best.npy"]).tolist() == [int(prob[i].argmax()) for i in sorted(prob)]
    assert np.load(files["mean.npy"]).shape == (5, 3)


def test_a_plan_says_what_it_costs_and_writes_nothing(made, tmp_path):
    pytest.importorskip("pyarrow", reason="its sink is Parquet")
    before = sorted(tmp_path.iterdir())
    said = json.loads(run(made, made["pictures"], "--blobs", "fc", "--plan", "--json", "--workers", "3").stdout)
    assert (said["pictures"], said["sample"], said["unreadable_in_sample"], said["workers"]) == (6, 6, 1, 3)
    # conv: 6 x 10 x 8 positions of 3 x 3 x 3; fc: 7 x 480; two operations each
    assert said["gflop_per_picture"] == round(2e-9 * (6 * 80 * 27 + 7 * 480), 4)
    assert said["bytes"] == sum(path.stat().st_size for path in made["paths"])
    assert said["seconds"]["1"] >= said["seconds"]["3"]
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--out", "x"], "one of --classify, --blobs, --saliency, --detect or --function; got none of them"),
        (["--classify", "--detect", "--out", "x"], "got --classify and --detect"),
        (["--classify"], "Expected --out FOLDER"),
        (["--classify", "--draw", "map", "--out", "x"], "--draw goes with --saliency"),
        (["--classify", "--gpu", "one", "--out", "x"], "give numbers such as 0 or 0,1, or all"),
        (["--function", "mine:colours", "--out", "x"], "No module named 'mine'"),
    ],
)
def test_what_makes_no_sense_is_refused(made, options, message):
    result = CliRunner().invoke(main, ["batch", made["model"], made["weights"], made["pictures"], *options])
    assert result.exit_code in (1, 2)
    assert message in result.output


def test_unreadable_pictures_are_counted_aloud(made, tmp_path):
    result = run(made, made["pictures"], "--blobs", "fc", "--as", "npy", "--out", str(tmp_path / "out"))
    assert "1 pictures could not be read" in result.stderr
    assert "workers lost" in result.stdout
