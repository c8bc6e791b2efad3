import ast
import gzip
import subprocess
import sys
from pathlib import Path

import measured
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

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


def test_what_belongs_to_the_project_is_found_under_the_root_first_and_else_beside_the_package(home):
    assert files.project("pyproject.toml") == files.CHECKOUT / "pyproject.toml" and files.project("none.txt") is None
    first = files.project("notebooks/[0-9][0-9]_*.ipynb")
    assert first.parent == files.CHECKOUT / "notebooks" and first.name.startswith("00_")
    (home / "notebooks").mkdir()
    assert files.project("notebooks") == home / "notebooks"
    assert files.project("notebooks/[0-9][0-9]_*.ipynb") == first  # an empty folder is none of notebooks


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
    assert str(error) == "one\\x1b[31m\\udcff\\ntwo\\r\\u202e" and str(error).encode()
    assert str(BadInput("ä 胸 '\\'")) == "ä 胸 '\\'"


COLUMNS = {"path": ["NORMAL/a b.jpeg", "x,y.png"], "split": ["test", "test"], "label": [0, 1]}
COLUMNS |= {"probability": [0.125, 1]}


def spreadsheet(separator, *, comma=False, encoding="utf-8", first="", end="\r\n"):
    """Write the table as a spreadsheet of some country does."""
    rows = [*zip(*COLUMNS.values(), strict=True)]
    text = [[str(value) if not comma else str(value).replace(".1", ",1") for value in row] for row in rows]
    quoted = [[f'"{v}"' if separator in v else v for v in row] for row in [list(COLUMNS), *text]]
    return (first + end.join(map(separator.join, quoted)) + end).encode(encoding)


@pytest.mark.parametrize(
    "content",
    [
        spreadsheet(","),
        spreadsheet(",", comma=True),  # numbers in quotes
        spreadsheet(";", comma=True),
        spreadsheet(";", comma=True, encoding="utf-8-sig"),
        spreadsheet(";", comma=True, first="sep=;\r\n"),
        spreadsheet(";", first="\r\n"),
        spreadsheet("\t", comma=True, encoding="utf-16"),
        spreadsheet("\t", end="\n"),
        spreadsheet("|"),
        spreadsheet(",").replace(b",split,label,", b", split , label,\t").replace(b",test,", b", test, "),
    ],
)
def test_tables_of_any_spreadsheet_are_read(tmp_path, content):
    for name in ("a.csv", "a.csv.gz"):
        (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
        assert files.read_csv(tmp_path / name).to_dict("list") == COLUMNS


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"path,path \nx,0\n", "two of its columns have one name"),
        (b"path,label,probability\nx,0,0,25\n", "decimal commas, part the columns by semicolons"),
        ("straße,label\n".encode("latin-1"), "not UTF-8 text; save it as CSV UTF-8"),
        (b"\xff\xfe\x00", "not UTF-8 text"),
        (b"a\n" + b"," * 2_000, "2,001 columns"),
        (b"a\n" * 1_000_002, "1,000,000 rows"),
        (b"a,b,c,d,e,f,g,h,i,j,k\n" * 950_000, "10,450,000 values"),
        (bytes(64 * 2**20 + 1), "more than 64 MB"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_tables_that_can_not_be_read_say_why(tmp_path, content, words):
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(content, 1))
    with pytest.raises(BadInput, match=words):
        files.read_csv(tmp_path / "a.csv.gz")


@given(st.lists(st.floats(0, 1), min_size=1))
@example([0.13299979269504547])  # pandas 2.2 read another one, so committed answers had another identity
def test_numbers_are_read_as_they_were_written_whatever_the_pandas(tmp_path_factory, numbers):
    path = tmp_path_factory.getbasetemp() / "numbers.csv"
    path.write_text(files.as_csv(pd.DataFrame({"x": numbers})))
    assert files.read_csv(path)["x"].tolist() == numbers


def test_a_missing_column_is_named_beside_those_that_are_there(tmp_path):
    (tmp_path / "a.csv").write_text("Path,Label\nx,0\n")
    with pytest.raises(BadInput, match="column 'path' is missing; expected path, label, found Path, Label"):
        files.read_csv(tmp_path / "a.csv", columns=("path", "label"))


def test_thousands_are_not_taken_for_decimals(tmp_path):
    (tmp_path / "a.csv").write_text("width;share\n1,024;0,123\n2,048;0,999\n")
    assert files.read_csv(tmp_path / "a.csv").to_dict("list") == {"width": ["1,024", "2,048"], "share": [0.123, 0.999]}


@pytest.mark.skipif(sys.platform == "win32", reason="asks the system for the peak of memory")
@pytest.mark.parametrize(
    "content",
    [bytes(2**28), b"a\n" + b"," * 2**26, b"a," * 2**25, b"a\n" * 2**25, b"0,0\n" * 2**24],
    ids=("zeros", "a long row", "many names", "many rows", "many values"),  # some pytests would take all for a name
)
def test_a_packed_table_does_not_fill_the_memory(tmp_path, content):
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(content, 6))
    assert (tmp_path / "a.csv.gz").stat().st_size < 2**20
    program = (
        "import resource, sys; import pandas; from cxr_utils import files\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = peak()\n"
        "try: files.read_csv(sys.argv[1]); raise SystemExit('was read')\n"
        "except files.BadInput: print(peak() - before)"
    )
    command = measured.alone(sys.executable, "-c", program, str(tmp_path / "a.csv.gz"))
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) / (2**20 if sys.platform == "darwin" else 2**10) < 300  # MiB


def test_what_is_hashed_or_written_ends_lines_alike_on_every_system():
    """Pandas ends them as the system does: only `as_csv`, which sets the end, may be used."""
    for path in (Path(files.__file__).parent).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "to_csv":
                assert "lineterminator" in {word.arg for word in node.keywords}, f"{path.name}, line {node.lineno}"


def test_a_temporary_file_that_windows_holds_hides_no_error(tmp_path, monkeypatch):
    """There a file that is mapped can't be removed until the error that it is named in is forgotten."""

    def refused(self, missing_ok=False):
        raise PermissionError(13, "in use", str(self))

    with pytest.raises(ValueError, match="the true error"):
        with files.atomic(tmp_path / "x.npy") as temporary:
            temporary.write_bytes(b"half")
            monkeypatch.setattr(Path, "unlink", refused)
            raise ValueError("the true error")
    assert list(tmp_path.glob(".x*")) == [temporary]  # which the next writer removes, when we end


def test_a_lock_that_another_process_holds_is_known_without_reading_it(tmp_path, monkeypatch):
    """On Windows it can't be read."""
    path = tmp_path / "data.lock"
    path.touch()
    monkeypatch.setattr(Path, "read_bytes", lambda self: pytest.fail("read"))
    assert files.is_lock(path)
