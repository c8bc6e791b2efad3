"""What a lesson asks besides its exercises: its parameters, guesses, and a protocol before test."""

import pytest
from helpers import notebook
from hypothesis import given, settings
from hypothesis import strategies as st

from cxr_utils import course, evaluation, files, ledger, training
from cxr_utils.course import lab, lessons
from cxr_utils.errors import BadInput

PROTOCOL = {"network": "plain", "threshold": 0.4, "figure": "auc"}


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
    (home / "notebooks").mkdir()
    notebook(home / "notebooks", "01_a", "1")
    assert any(lessons.FILE in said for said in lab.write("lab"))
    mine = home / "lab" / lessons.FILE
    mine.write_text("seed = 7\n")
    assert not any(lessons.FILE in said for said in lab.write("lab", reset=["01"]))
    assert mine.read_text() == "seed = 7\n"


@pytest.mark.parametrize(
    ("guess", "found", "right"),
    [
        (0.9, 0.85, True),
        (0.9, 0.7, False),
        (1, 1.0, True),
        (3, 2, False),
        ("SMOTE ", "smote", True),
        ("none", "smote", False),
        ((6, 1, 3), [1, 3, 6], True),
        ([3, 1], [1, 3, 6], False),
    ],  # fmt: skip
)
def test_guesses_are_compared_and_counted(monkeypatch, capsys, guess, found, right):
    monkeypatch.setattr(lessons, "_GUESSED", {})
    lessons.compare("What", guess, found)
    text = capsys.readouterr().out
    assert text.startswith("✅") is right and f"you said {guess}" in text
    lessons.score()
    assert f"{int(right)} of your 1 guesses" in capsys.readouterr().out


def test_without_a_guess_the_answer_is_said_and_nothing_counted(monkeypatch, capsys):
    monkeypatch.setattr(lessons, "_GUESSED", {})
    for nothing in (None, ...):
        lessons.compare("What", nothing, 0.5)
    assert capsys.readouterr().out == "What: it is 0.5.\n" * 2
    lessons.score()
    assert "no guess" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("guess", "found", "within", "words"),
    [
        (62, 0.7, 0.1, "you said 62; write a share from 0 to 1"),
        ("62%", 0.7, 0.1, "you said '62%'; write a share from 0 to 1, such as 0.62 for 62% (without quotes)."),
        ("3", 4, 2, "you said '3'; write a number (without quotes)."),
        ([3], 4, 2, "write a number."),
        (1, [1, 3], 0.1, "you said 1; write a list"),
        (5, 0.8, 4, "you said 5, it is 0.8."),  # points, not a share
        (2, 1, 0, "you said 2, it is 1."),
    ],
)
def test_a_guess_that_can_be_no_answer_is_told_how_to_be_written(monkeypatch, capsys, guess, found, within, words):
    monkeypatch.setattr(lessons, "_GUESSED", {})
    lessons.compare("What", guess, found, within=within)
    assert words in capsys.readouterr().out
    assert bool(lessons._GUESSED) is ("it is" in words)


def test_a_guess_made_again_counts_once(monkeypatch, capsys):
    monkeypatch.setattr(lessons, "_GUESSED", {})
    lessons.compare("What", 0, 1)
    lessons.compare("What", 1, 1)
    lessons.score()
    assert capsys.readouterr().out.endswith("1 of your 1 guesses came true.\n")


@pytest.fixture
def exam(tmp_path, monkeypatch):
    """A folder, and networks that answer what they are called, once the ledger has them."""
    folder = tmp_path / "exam-s0"

    def predict(run, pixels, split, *, entered):
        assert entered and run.folder.name in set(ledger.read(folder)["cell"]), "entered before test is read"
        return run.folder.name

    monkeypatch.setattr(evaluation, "predict", predict)
    return folder


def runs(*names):
    return {name: training.Run(files.root() / "runs" / name) for name in names}


def test_a_protocol_is_sealed_once_and_another_is_refused(exam):
    digest = lessons.seal(PROTOCOL, exam)
    assert lessons.seal(dict(reversed(PROTOCOL.items())), exam) == digest
    with pytest.raises(BadInput, match=r"protocol\.json: holds another protocol.*'figure': 'auc'.*take_back"):
        lessons.seal(PROTOCOL | {"figure": "accuracy"}, exam)
    assert files.read_record(exam / "protocol.json")["protocol"] == PROTOCOL


def test_a_slip_is_refused_before_it_is_sealed_and_can_be_taken_back_until_test_was_read(exam):
    with pytest.raises(BadInput, match="figure: 'balanced accuracy'; choose one of balanced_accuracy, "):
        lessons.seal(PROTOCOL | {"figure": "balanced accuracy"}, exam)
    with pytest.raises(BadInput, match="network: 'other'; choose one of plain"):
        lessons.seal(PROTOCOL | {"network": "other"}, exam, {"plain": trained("plain", 0.25)})
    assert not exam.exists()
    lessons.seal(PROTOCOL, exam)
    with pytest.raises(BadInput, match=r"nothing has read test yet: .*lessons\.take_back\('.*exam-s0'\)"):
        lessons.seal(PROTOCOL | {"figure": "accuracy"}, exam)
    lessons.take_back(exam)
    digest = lessons.seal(PROTOCOL | {"figure": "accuracy"}, exam)
    lessons.open_test(runs("plain"), None, None, seal=digest, folder=exam)
    with pytest.raises(BadInput, match="test was read for its protocol, so it stays"):
        lessons.take_back(exam)
    with pytest.raises(BadInput, match=r"move protocol\.json away: your ledger will count it"):
        lessons.seal(PROTOCOL, exam)
    assert lessons.sealed(exam)["figure"] == "accuracy"


@settings(max_examples=25)
@given(st.dictionaries(st.text(), st.floats(0, 1) | st.text()), st.text(), st.floats(0, 1))
def test_any_change_gives_another_digest(tmp_path_factory, protocol, name, value):
    first, second = tmp_path_factory.mktemp("a"), tmp_path_factory.mktemp("b")
    changed = protocol | {name: value}
    assert (lessons.seal(protocol, first) == lessons.seal(changed, second)) == (repr(changed) == repr(protocol))


def test_what_is_reported_is_what_was_sealed(exam):
    lessons.seal(PROTOCOL, exam)
    changed = PROTOCOL | {"figure": "accuracy"}
    with pytest.raises(BadInput, match="another protocol") as caught:
        lessons.seal(changed, exam)
    assert str(exam) in str(caught.value)
    assert lessons.sealed(exam) == PROTOCOL


def trained(name, loss):
    run = training.Run(files.resolve("runs") / name)
    run.folder.mkdir(parents=True, exist_ok=True)
    (run.folder / "history.csv").write_text(f"epoch,loss,val_loss,seconds\n1,{loss},0.5,3\n")
    return run


def test_another_network_under_a_sealed_name_is_refused(exam):
    both = {name: trained(name, 0.25) for name in ("plain", "augmented")}
    digest = lessons.seal(PROTOCOL, exam, both)
    assert set(lessons.sealed(exam)["networks"]) == set(both) and lessons.seal(PROTOCOL, exam, both) == digest
    trained("augmented", 0.250001)  # by another seed, say
    for again in (lambda: lessons.seal(PROTOCOL, exam, both),
                  lambda: lessons.open_test(both, None, None, seal=digest, folder=exam)):  # fmt: skip
        with pytest.raises(BadInput, match="^runs: 'augmented' is another network.*nothing has read test.*take_back"):
            again()
    assert not (exam / ledger.NAME).exists()
    trained("augmented", 0.25)
    assert set(lessons.open_test(both, None, None, seal=digest, folder=exam)) == set(both)
    trained("augmented", 0.250001)
    with pytest.raises(BadInput, match="go back to its settings. For a second look at test"):
        lessons.open_test(both, None, None, seal=digest, folder=exam)


def test_what_is_open_can_not_be_sealed(exam):
    for nothing in (None, ...):
        with pytest.raises(BadInput, match="'threshold' is still open"):
            lessons.seal(PROTOCOL | {"threshold": nothing}, exam)
    assert not exam.exists()


def test_test_opens_for_the_seal_alone_and_the_ledger_counts(exam):
    with pytest.raises(BadInput, match="holds no protocol; seal your protocol first"):
        lessons.open_test(runs("plain"), None, None, seal="0" * 16, folder=exam)
    digest = lessons.seal(PROTOCOL, exam)
    with pytest.raises(BadInput, match=f"'guess', but .* holds {digest}"):
        lessons.open_test(runs("plain"), None, None, seal="guess", folder=exam)
    assert not (exam / ledger.NAME).exists()
    for _ in range(2):  # to run a cell again is no second reading
        opened = lessons.open_test(runs("plain", "augmented"), None, None, seal=digest, folder=exam)
        assert opened == {"plain": "plain", "augmented": "augmented"}
        assert list(ledger.read(exam)["cell"]) == ["plain", "augmented"]
    assert set(ledger.read(exam)["identity"]) == {digest}


def test_a_second_look_counts(exam):
    first = lessons.seal(PROTOCOL, exam)
    lessons.open_test(runs("plain"), None, None, seal=first, folder=exam)
    (exam / "protocol.json").rename(exam / "protocol-1.json")
    second = lessons.seal(PROTOCOL | {"threshold": 0.5}, exam)
    lessons.open_test(runs("plain"), None, None, seal=second, folder=exam)
    assert list(ledger.read(exam)["identity"]) == [first, second]


def test_a_fresh_course_forgets_the_exam_and_keeps_what_is_not_ours(exam):
    digest = lessons.seal(PROTOCOL, exam)
    lessons.open_test(runs("plain"), None, None, seal=digest, folder=exam)
    (exam / "notes.txt").write_text("mine")
    assert course.clear(exam.parent) == [exam / "notes.txt"]
