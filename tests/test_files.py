import subprocess
import sys

import pytest

from cxr_utils import files
from cxr_utils.errors import BadInput


def test_root_is_the_project_wherever_the_kernel_started(tmp_path, monkeypatch):
    monkeypatch.delenv("CXR_HOME", raising=False)
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "cxr-utils"\n')
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    assert files.resolve("data") == tmp_path / "data"
    monkeypatch.setenv("CXR_HOME", str(tmp_path / "elsewhere"))
    assert files.resolve("data") == tmp_path / "elsewhere" / "data"
    assert files.resolve(tmp_path / "x") == tmp_path / "x"


def test_without_a_checkout_the_working_folder_is_the_root(tmp_path, monkeypatch):
    monkeypatch.delenv("CXR_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    assert files.root() == tmp_path


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "tables" / "table.csv"
    target.parent.mkdir()
    target.write_text("old")
    with pytest.raises(ZeroDivisionError), files.atomic(target, ours=True) as temporary:
        temporary.write_text("half")
        1 / 0  # noqa: B018
    assert target.read_text() == "old"
    assert [p.name for p in target.parent.iterdir()] == ["table.csv"]


def test_a_failed_folder_is_taken_away(tmp_path):
    with pytest.raises(ZeroDivisionError), files.atomic(tmp_path / "all" / "data") as temporary:
        temporary.mkdir()
        (temporary / "a").write_text("half")
        1 / 0  # noqa: B018
    assert not list((tmp_path / "all").iterdir())


def test_json_is_whole_and_without_nan(tmp_path):
    path = tmp_path / "a.json"
    files.write_json(path, {"ä": 1})
    with pytest.raises(ValueError):
        files.write_json(path, {"a": float("nan")})
    assert files.read_json(path) == {"ä": 1}
    path.write_text("{")
    with pytest.raises(BadInput, match="a.json"):
        files.read_json(path)
    with pytest.raises(BadInput, match="no such file"):
        files.read_json(tmp_path / "b.json")


def test_a_second_holder_is_told(tmp_path):
    code = ("import sys; from cxr_utils import files\n"
            "try:\n    with files.lock(sys.argv[1], wait=0): print('free')\n"
            "except files.BadInput as e: print('held')")  # fmt: skip

    def other():
        return subprocess.run([sys.executable, "-c", code, str(tmp_path / "run")], capture_output=True, text=True)

    with files.lock(tmp_path / "run"):
        assert other().stdout == "held\n"
    assert other().stdout == "free\n"


@pytest.mark.parametrize("module", ["", ".cli", ".course", ".dataset", ".evaluation", ".recipes", ".sources",
                                    ".splits", ".training"])  # fmt: skip
def test_nothing_heavy_is_loaded_at_import(module):
    heavy = "{'tensorflow', 'keras', 'sklearn', 'imblearn', 'matplotlib', 'papermill', 'kaggle', 'scipy'}"
    code = f"import sys, cxr_utils{module}; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_a_table_is_never_fetched_from_an_address(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("urllib.request.urlopen", None)  # pandas would call it
    for name in ("http://127.0.0.1:9/a.csv", "s3://bucket/a.csv", "file:///etc/passwd"):
        with pytest.raises(BadInput, match="there is no such file"):
            files.read_csv(name)


def test_messages_are_fit_to_be_printed():
    error = BadInput("one\x1b[31m\udcff\ntwo\r\u202e")
    assert str(error) == "one\\x1b[31m\\udcff\ntwo\\r\\u202e" and str(error).encode()
    assert str(BadInput("ä 胸 '\\'")) == "ä 胸 '\\'"
