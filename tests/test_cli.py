"""The command `cxr` as a user meets it."""

import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import typer

from cxr_utils import __version__, cli, course, dataset, evaluation, recipes, sources
from cxr_utils.course import check
from cxr_utils.replication import claims, grid


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["--help"],
        ["fetch"],
        ["fetch", "--help"],
        ["run", "-h"],
        ["check", "--help"],
        ["pack", "-h"],
        ["score"],
        ["evaluate"],
        ["recipes", "-h"],
    ],
)
def test_help_reads_well(command, capsys):
    assert cli.main(command) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"Usage: cxr {' '.join(word for word in command[:1] if word[0] != '-')}".rstrip())
    assert "\x1b" not in text and "None" not in text and max(map(len, text.splitlines())) <= 100


def test_every_argument_and_option_is_explained():
    for name, command in typer.main.get_command(cli.app).commands.items():
        assert command.help and "Parameters" not in command.help, name
        for one in command.params:
            assert one.help and one.help[-1] in ".)", (name, one.name)


def test_version(capsys):
    assert cli.main(["--version"]) == 0 and capsys.readouterr().out == f"cxr {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["runn"], "'run'"),
        (["run", "--profil", "full"], "--profile"),
        (["run", "--seed", "x"], "--seed"),
        (["run", "--profile", "huge"], "sample, workshop, full"),
        (["run", "--profile", "full"], "--source"),
        (["run", "--source", "web"], "kaggle"),
        (["run", "99"], "01_download"),
        (["run", "-p", "epochs"], "name=value"),
        (["run", "-p", "no_such=1"], "'no_such'"),
        (["run", "-p", "seed=1"], "--seed"),
        (["run", "-p", "draws=many"], "such as 2000"),
        (["run", "-f", "gone.yaml"], "gone.yaml: there is no such file"),
        (["fetch", "--path", "x"], "--source"),
        (["fetch", "--source", "web"], "'web'"),
        (["fetch", "--source", "sample", "--path", "x"], "only the source folder"),
        (["check", "--fast"], "--fast"),
        (["recipes", "resnet"], "plain_224"),
        (["score", "gone.csv", "--split", "gone.csv"], "gone.csv: there is no such file"),
        (["score", "gone.csv", "--out", "mine.csv"], "--out mine.csv"),
        (["score", "gone.csv"], "98ef3b64854cd068"),
    ],
)
def test_a_wrong_input_is_one_line_and_status_2(arguments, words, capsys):
    assert cli.main(arguments) == 2
    caught = capsys.readouterr()
    assert caught.out == "" and caught.err.count("\n") == 1
    assert caught.err.startswith("cxr") and words in caught.err


def test_path_is_meant_from_where_the_user_stands(tmp_path, monkeypatch, capsys):
    seen = {}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sources, "fetch", lambda source, **options: seen.update(options) or tmp_path)
    about = {"title": "Chests", "licence": "CC BY 4.0", "synthetic": False, "left_out": ["a", "b", "c", "d"]}
    monkeypatch.setattr(sources, "describe", lambda folder: about)
    monkeypatch.setattr(dataset, "scan", lambda folder: None)
    monkeypatch.setattr(dataset, "counts", lambda index: pd.DataFrame({"NORMAL": [1], "PNEUMONIA": [3]}, ["train"]))
    monkeypatch.setattr(dataset, "quarantine", lambda folder: pd.DataFrame({"path": ["bad"]}))
    assert cli.main(["fetch", "--source", "folder", "--path", "here.zip"]) == 0
    assert seen["path"] == tmp_path / "here.zip" and seen["data_dir"] == "data"
    text = capsys.readouterr().out
    for part in ("Chests", "CC BY 4.0", str(tmp_path), "NORMAL", "left out: 4", "not readable: 1"):
        assert part in text
    assert "next: cxr run --source folder --profile workshop" in text


def test_run_says_what_was_learned_and_where_it_lies(tmp_path, monkeypatch, capsys):
    seen = {}

    def run(names, **options):
        seen.update(options, names=names)
        told = [{"name": "01_a", "status": course.FINISHED}, {"name": "02_b", "status": course.EXECUTED}]
        return course.CourseRun(tmp_path, told, report=tmp_path / "r", seconds=90, synthetic=True)

    monkeypatch.setattr(course, "run", run)
    assert cli.main(["run", "1", "2", "--core", "--fresh", "-p", "a=1", "-p", "b=x", "--seed", "5"]) == 0
    assert seen["names"] == ["1", "2"] and seen["parameters"] == {"a": 1, "b": "x"}
    assert seen["core"] and seen["fresh"] and seen["seed"] == 5
    text = capsys.readouterr().out
    assert "01_a" in text and "1.5 minutes" in text and str(tmp_path / "notebooks") in text


def test_ctrl_c(monkeypatch, capsys):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(course, "run", stop)
    assert cli.main(["run"]) == 130
    assert "goes on from here" in capsys.readouterr().err


def test_an_own_mistake_shows_its_traceback(monkeypatch):
    monkeypatch.setattr(course, "run", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cli.main(["run"])


def test_recipes_are_listed_with_what_they_are(capsys):
    assert cli.main(["recipes"]) == 0
    text = capsys.readouterr().out
    for name in (*recipes.names(), *grid.VARIANTS):
        assert re.search(rf"^{name} ", text, re.MULTILINE)
    assert "300 x 300 x 3" in text and "augmentation none" in text and max(map(len, text.splitlines())) <= 100


def test_one_recipe_is_shown_with_its_layers(capsys):
    assert cli.main(["recipes", "plain_300"]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 100
    recipe = recipes.get("plain_300")
    for words in (recipe.title, "1,983,009 parameters", *(claim.text for claim in recipe.claims)):
        assert words in text
    assert re.search(r"^Conv2D +128, 3 x 3, relu +14 x 14 x 128 +147,584$", text, re.MULTILINE)
    assert re.search(r"^epochs +50$", text, re.MULTILINE)
    assert cli.main(["recipes", "softmax_64"]) == 0
    assert "not published" in capsys.readouterr().out


def test_a_variant_says_what_is_changed(capsys):
    assert cli.main(["recipes", "plain_224-unaugmented"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("plain_224-unaugmented: plain_224, but augmentation none\n")
    assert re.search(r"^augmentation +none$", text, re.MULTILINE) and "4,349,897 parameters" in text


def test_score_shows_the_figures_and_a_row(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rng, label = np.random.default_rng(0), np.tile([0, 1, 1], 30)
    split = pd.DataFrame({"path": [f"IM-{n:04d}-0001.jpeg" for n in range(90)], "label": label})
    split = split.assign(patient=split["path"], part=np.repeat(["train", "validation", "test"], 30))
    split.to_csv("split.csv", index=False)
    mine = split.assign(split=split["part"], probability=np.clip(label * 0.4 + rng.uniform(0, 0.6, 90), 0, 1))
    mine.drop(columns=["part", "patient"]).to_csv("mine.csv", index=False)
    assert cli.main(["score", "mine.csv", "--split", "split.csv"]) == 0
    text = capsys.readouterr().out
    test = mine[mine["split"] == "test"]
    figures = evaluation.metrics(test["label"], test["probability"])
    row = text[text.index("| mine |") :].splitlines()[0]
    assert f"{figures['accuracy']:.3f}".removeprefix("0") in row and f"{figures['auc']:.3f} (" in text
    assert len(row.split(" | ")) == len(claims.HEAD.split(" | "))
    assert "nothing was kept" in text and len(list(tmp_path.glob("*.csv"))) == 2
    assert cli.main(["score", "mine.csv", "--split", "split.csv", "--out", "scores/net.json", "--name", "my net"]) == 0
    assert "| my net |" in capsys.readouterr().out and (tmp_path / "test_reads.csv").is_file()


@pytest.mark.parametrize(("needed", "status", "last"), [(True, 1, "not ready"), (False, 0, "ready for the course")])
def test_check_status(needed, status, last, monkeypatch, capsys):
    found = [check.Finding("Python", "3.9", "install 3.11", needed=needed)]
    monkeypatch.setattr(check, "findings", lambda **_: found)
    assert cli.main(["check"]) == status
    assert capsys.readouterr().out.splitlines()[-1].startswith(last)


def test_the_package_and_the_command_are_light():
    heavy = "tensorflow keras sklearn imblearn scipy matplotlib papermill nbconvert kaggle"
    code = (
        "import sys, cxr_utils, cxr_utils.cli, cxr_utils.course, cxr_utils.training, cxr_utils.evaluation\n"
        f"print([m for m in '{heavy}'.split() if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_command_is_installed():
    command = [sys.executable, "-c", "import sys; from cxr_utils.cli import main; sys.exit(main())", "--version"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and re.fullmatch(r"cxr \d+\.\d+\.\d+\n", done.stdout)
