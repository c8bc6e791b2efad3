"""Parameters of notebooks, from the command line and from a file."""

import os

import pytest
from helpers import notebook
from hypothesis import given
from hypothesis import strategies as st

from cxr_utils.course import notebooks, parameters
from cxr_utils.errors import BadInput

COMMON = dict.fromkeys(("source", "data_dir", "run_dir", "profile", "seed"), "x")


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("books")
    notebook(folder, "01_a", "print(epochs)", more="epochs = 1\nrate = 0.5\n")
    notebook(folder, "02_b", "print(name)", more="epochs = 2\nname = None\n")
    return notebooks.select((), folder)


@pytest.fixture
def wanted(paths, tmp_path):
    """Make a function from a file's text to what each notebook gets."""

    def read(text, given=(), books=paths):
        file = tmp_path / "params.yaml"
        file.write_text(text, encoding="utf-8")
        found = parameters.of_each(books, COMMON, dict(given), file=file, where=paths[0].parent)
        assert all(values.items() >= COMMON.items() for values in found.values())
        return {path.stem: {k: v for k, v in values.items() if k not in COMMON} for path, values in found.items()}

    return read


@pytest.mark.parametrize(
    ("text", "given", "first", "second"),
    [
        ("epochs: 3\n", {}, {"epochs": 3}, {"epochs": 3}),
        ("epochs: 3\nrate: 1\n", {}, {"epochs": 3, "rate": 1}, {"epochs": 3}),
        ("02:\n  epochs: 4\n  name: x\n", {}, {}, {"epochs": 4, "name": "x"}),
        ("epochs: 3\n02_b:\n  epochs: 4\n", {}, {"epochs": 3}, {"epochs": 4}),
        ("epochs: 3\n2: {epochs: 4}\n", {"epochs": 5}, {"epochs": 5}, {"epochs": 5}),
        ('{"02_b.ipynb": {"name": null}}', {}, {}, {"name": None}),
    ],
)
def test_what_is_said_nearest_counts(wanted, text, given, first, second):
    assert wanted(text, given) == {"01_a": first, "02_b": second}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("epoch: 3\n", ("'epoch'", "did you mean 'epochs'?")),
        ("epochs: many\n", ("'epochs'", "'many'", "such as 2")),
        ("epochs: true\n", ("'epochs'", "True")),
        ("epochs: 3.5\n", ("'epochs'", "3.5")),
        ("rate: fast\n", ("'rate'", "such as 0.5")),
        ("name: 3\n", ("'name'", "a text")),
        ("name: 2026-11-26\n", ("'name'", "a text")),
        ("02:\n  rate: 1\n", ("02_b", "'rate'", "known here are epochs, name")),
        ("03:\n  epochs: 1\n", ("notebook '3'", "01_a, 02_b")),
        ("2: {epochs: 1}\n02_b: {epochs: 2}\n", ("02_b", "there already")),
        ("seed: 3\n", ("--seed",)),
        ("01:\n  profile: full\n", ("--profile",)),
        ("epochs: [\n", ("not a readable YAML file", "`draws: 500`")),
        ("epochs: !!python/name:os.system\n", ("not a readable YAML file",)),
        ("- epochs\n", ("['epochs']", "`draws: 500`")),
        ("", ("None", "`draws: 500`")),
        ("epochs\n", ("'epochs'", "`draws: 500`")),
    ],
)
def test_what_is_wrong_in_a_file_is_one_line_that_names_it(wanted, text, words):
    with pytest.raises(BadInput) as caught:
        wanted(text)
    said = str(caught.value)
    assert all(word in said for word in ("params.yaml", *words)) and "\\n" not in said, said


def test_what_is_said_of_a_notebook_that_is_not_asked_for_is_told(wanted, paths):
    with pytest.warns(UserWarning, match="params.yaml: what it says of 02_b is left out"):
        assert wanted("02:\n  epochs: 4\n", books=paths[:1]) == {"01_a": {}}


def test_a_file_that_can_t_be_read_is_named(paths, tmp_path):
    (tmp_path / "latin.yaml").write_bytes(b"name: caf\xe9\n")
    for name, words in (("gone.yaml", "no such file"), ("latin.yaml", "not a readable"), (os.curdir, "not a readable")):
        with pytest.raises(BadInput, match=words):
            parameters.of_each(paths, COMMON, {}, file=tmp_path / name, where=paths[0].parent)


@given(st.text())
def test_any_text_is_parameters_or_one_line(paths, tmp_path_factory, text):
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    file.write_text(text, encoding="utf-8", errors="replace")
    try:
        every, own = parameters._read(file, paths[0].parent)
    except BadInput as error:
        assert "any.yaml" in str(error)
    else:
        assert own.keys() <= set(paths) and all(isinstance(name, str) for name in every)


def test_parse():
    assert parameters.parse(["a=1", "b=x=y", "c=[1, 2]", "d="]) == {"a": 1, "b": "x=y", "c": [1, 2], "d": ""}
    for wrong in ("a", "=1", "a b=1"):
        with pytest.raises(BadInput, match="name=value"):
            parameters.parse([wrong])
