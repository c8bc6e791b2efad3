"""What a lesson asks besides its exercises: its parameters, and guesses."""

import pytest

from cxr_utils.course import lab, lessons
from cxr_utils.errors import BadInput


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path / lessons.FILE


def test_without_a_word_it_is_the_sample(here):
    assert lessons.chosen() == ("sample", None, "data", "runs/sample", "sample", 0)


def test_the_file_counts_and_what_is_given_counts_more(here):
    here.write_text('source = "folder"\npath = "/my/images"\nseed = 4\n')
    assert lessons.chosen() == ("folder", "/my/images", "data", "runs/folder-workshop", "workshop", 4)
    found = lessons.chosen(source="kaggle", seed=0, profile="full", run_dir="runs/mine")
    assert (found.source, found.seed, found.profile, found.run_dir) == ("kaggle", 0, "full", "runs/mine")


def test_what_cxr_lab_writes_is_the_default(here):
    before = lessons.chosen()
    here.write_text(lessons.TEXT)
    assert lessons.chosen() == before
    for line in lessons.TEXT.splitlines():  # each example in it can be switched on
        if line.startswith("# ") and " = " in line:
            here.write_text(line.removeprefix("# "))
            assert lessons.chosen()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("source = sample\n", ("can't be read", "delete the file")),
        ('sources = "sample"\n', ("sources", "choose one of")),
        ('seed = "1"\n', ("seed is '1'", "a number")),
        ("seed = true\n", ("seed is True", "a number")),
        ("source = 1\n", ("source is 1", "text in quotes")),
        (b"\xff\xfe", ("can't be read",)),
    ],
)
def test_a_wrong_file_is_named(here, text, words):
    here.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(BadInput) as caught:
        lessons.chosen()
    assert str(here) in str(caught.value) and all(word in str(caught.value) for word in words)


def test_lab_writes_the_file_once(home, monkeypatch):
    from test_course import notebook

    (home / "notebooks").mkdir()
    notebook(home / "notebooks", "01_a", "1")
    assert any(lessons.FILE in said for said in lab.write("lab"))
    mine = home / "lab" / lessons.FILE
    mine.write_text("seed = 7\n")
    assert not any(lessons.FILE in said for said in lab.write("lab", reset=["01"]))
    assert mine.read_text() == "seed = 7\n"


@pytest.mark.parametrize(
    ("guess", "found", "right"),
    [(0.9, 0.85, True), (0.9, 0.7, False), (1, 1.0, True), ("SMOTE ", "smote", True), ("none", "smote", False)],
)
def test_guesses_are_compared_and_counted(monkeypatch, capsys, guess, found, right):
    monkeypatch.setattr(lessons, "_GUESSED", {})
    lessons.compare("What", guess, found)
    text = capsys.readouterr().out
    assert text.startswith("✅") is right and f"you said {guess}" in text
    lessons.score()
    assert f"{int(right)} of your 1 guesses" in capsys.readouterr().out


def test_without_a_guess_nothing_is_said(monkeypatch, capsys):
    monkeypatch.setattr(lessons, "_GUESSED", {})
    for nothing in (None, ...):
        lessons.compare("What", nothing, 0.5)
    assert capsys.readouterr().out == ""
    lessons.score()
    assert "no guess" in capsys.readouterr().out


def test_a_guess_made_again_counts_once(monkeypatch, capsys):
    monkeypatch.setattr(lessons, "_GUESSED", {})
    lessons.compare("What", 0, 1)
    lessons.compare("What", 1, 1)
    lessons.score()
    assert capsys.readouterr().out.endswith("1 of your 1 guesses came true.\n")
