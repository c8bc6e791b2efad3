"""A protocol before test: sealed once, asked for when test is opened, each reading entered first."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxr_utils import course, evaluation, files, ledger, training
from cxr_utils.course import lessons
from cxr_utils.errors import BadInput

PROTOCOL = {"network": "plain", "threshold": 0.4, "figure": "auc"}


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
    with pytest.raises(BadInput, match=r"protocol\.json: holds another protocol.*'figure': 'auc'.*move the file away"):
        lessons.seal(PROTOCOL | {"figure": "accuracy"}, exam)
    assert files.read_record(exam / "protocol.json")["protocol"] == PROTOCOL


@settings(max_examples=25)
@given(st.dictionaries(st.text(), st.floats(0, 1) | st.text()), st.text(), st.floats(0, 1))
def test_any_change_gives_another_digest(tmp_path_factory, protocol, name, value):
    first, second = tmp_path_factory.mktemp("a"), tmp_path_factory.mktemp("b")
    changed = protocol | {name: value}
    assert (lessons.seal(protocol, first) == lessons.seal(changed, second)) == (repr(changed) == repr(protocol))


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
