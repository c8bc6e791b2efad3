"""Labelled images of any folder or archive, read where they lie, and what a table says of them."""

import hashlib
import os
import re
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import RESULTS, dicom_file, draw_tiny
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cxr_utils import cli, dataset, evaluation, files, predict, shortcuts, sources
from cxr_utils.errors import BadInput
from cxr_utils.predict import elsewhere, labelled, outside
from cxr_utils.sources.pack import pack

MODEL = RESULTS / "models/reference.onnx"


def films(top, *, classes=("Normal", "pneumonia"), seed=0):
    """Draw 8 JPEG, 4 PNG and 4 DICOM pictures: of each class four patients, each with two in a folder of their own."""
    rng = np.random.default_rng(seed)
    for name in classes:
        for patient in range(4):
            place = top / name / f"{name[0]}{patient}"
            place.mkdir(parents=True)
            for number in range(2):
                picture = np.kron(rng.integers(0, 256, (8, 8)), np.ones((12, 12))).astype(np.uint8)
                if number == 0:
                    Image.fromarray(picture).save(place / "a.jpg")
                elif patient < 2:
                    Image.fromarray(picture).save(place / "b.png")
                else:
                    dicom_file(place / "1.2.840.7", picture)  # without a suffix, as archives call them
    return top


@pytest.fixture
def hospital(tmp_path):
    return films(tmp_path / "hospital")


def tree(top):
    return {path: path.stat().st_mtime_ns for path in top.rglob("*") if path.is_file()}


def judge(path, **options):
    return elsewhere.judge_model(MODEL, source="folder", path=path, **options)


def listed(path, **options):
    with labelled.opened(path, named=labelled.classes(**options)) as found:
        return found[:3]


def table_of(hospital, **columns):
    """Write a table with a row an image, and columns that are functions of number and path."""
    paths = sorted(path.relative_to(hospital).as_posix() for path in hospital.rglob("*") if path.is_file())
    table = pd.DataFrame({"path": paths} | {c: [f(n, p) for n, p in enumerate(paths)] for c, f in columns.items()})
    table.to_csv(hospital.parent / "films.csv", index=False)
    return hospital.parent / "films.csv"


# Fault 1: DICOM was dropped. 2: an old copy was judged. 7: all was copied, and the output named no file


@pytest.mark.parametrize("packed", [False, True])
def test_a_folder_or_archive_of_all_formats_is_judged_whole_and_where_it_lies(hospital, tmp_path, capsys, packed):
    path = Path(shutil.make_archive(str(tmp_path / "h"), "zip", hospital)) if packed else hospital
    out, before = tmp_path / "out/kept.json", tree(tmp_path)
    arguments = ["evaluate", "--model", str(MODEL), "--source", "folder", "--path", str(path), "--out", str(out)]
    assert cli.main([*arguments, "--origin", "City Hospital, 2024", "--licence", "by contract"]) == 0
    shown, record = capsys.readouterr().out, files.read_json(out)
    assert record["metrics"]["images"] == 16 and record["unreadable"] == record["left_out"] == []
    assert (record["patients"], record["patients_unknown"]) == (8, 0) and "bootstrap over 8 patients" in shown
    assert tree(tmp_path).keys() - before.keys() == {out, out.with_suffix(".predictions.csv.gz")}
    assert {path: time for path, time in tree(tmp_path).items() if path in before} == before
    source = record["source"]
    assert (source["origin"], source["licence"], source["place"]) == ("City Hospital, 2024", "by contract", path.name)
    for words in ("reference.onnx", path.name, "City Hospital, 2024", "by contract", "kept.predictions.csv.gz"):
        assert words in shown
    found = evaluation.read_predictions(out.with_suffix(".predictions.csv.gz"))
    paths = [hospital / name for name in found["path"]]
    answers = list(predict.predict(predict.load(MODEL), paths))
    assert found["probability"].tolist() == pytest.approx([one.probability for one in answers], abs=1e-6)
    assert found["label"].tolist() == [int("pneumonia" in name) for name in found["path"]]


def test_a_changed_folder_is_never_judged_by_an_old_copy(hospital, tmp_path):
    first = judge(hospital, out=tmp_path / "kept.json")
    assert judge(hospital, out=tmp_path / "kept.json")["notes"] == first["notes"]
    shutil.copy(hospital / "Normal/N0/a.jpg", hospital / "Normal/N1/a.jpg")
    (hospital / "pneumonia/p0/b.png").unlink()
    again = judge(hospital, out=tmp_path / "kept.json")
    assert again["metrics"]["images"] == 15 and again["identity"] != first["identity"]
    assert [note for note in again["notes"] if "not those that the figures in kept.json" in note]
    assert again["patients"] == 7  # two who share a file are one


def test_what_is_left_out_is_named(hospital, capsys):
    (hospital / "COVID").mkdir()
    shutil.copy(hospital / "Normal/N0/a.jpg", hospital / "COVID/c.jpg")
    (hospital / "Normal/notes.txt").write_text("hello")
    (hospital / "about.txt").write_text("of the whole")
    (hospital / "Normal/N0/.DS_Store").write_text("-")
    shutil.copytree(hospital / "Normal/N1", hospital / "Normal/N0/Normal/N1")  # a copy within the copy
    (hospital / "pneumonia/p.gif").write_bytes(b"GIF89a")
    record = judge(hospital)
    assert record["metrics"]["images"] == 16 and record["unreadable"] == ["pneumonia/p.gif"]
    assert {"COVID/c.jpg", "Normal/notes.txt", "Normal/N0/Normal/N1/a.jpg"} <= set(record["left_out"])
    assert len(record["left_out"]) == 4
    shown = elsewhere.as_text(record)
    assert "left out: 4, first COVID/c.jpg" in shown and "left out: 1, first pneumonia/p.gif" in shown


@pytest.mark.skipif(os.name != "posix", reason="links of POSIX")
def test_links_that_lead_out_are_not_followed(hospital, tmp_path):
    (hospital / "Normal/N0/a.jpg").rename(tmp_path / "a.jpg")
    (hospital / "Normal/N0/a.jpg").symlink_to(tmp_path / "a.jpg")
    assert judge(hospital)["unreadable"] == ["Normal/N0/a.jpg"]
    (hospital / "Normal").rename(tmp_path / "moved")
    (hospital / "Normal").symlink_to(tmp_path / "moved")
    with pytest.raises(BadInput, match="'Normal' in it is a link that leads out of it"):
        judge(hospital)


def test_what_cxr_packed_stays_what_it_is(tmp_path, home):
    data = tmp_path / "data"
    with pytest.warns(UserWarning, match="the number of images is not the one"):
        sources.fetch("folder", path=draw_tiny(tmp_path / "tiny", junk=False), data_dir=data)
    record = files.read_json(data / "folder/source.json") | {"synthetic": True, "title": "Phantoms"}
    files.write_json(data / "folder/source.json", record, ours=True)
    pack(tmp_path / "p.zip", data_dir=data, source="folder")
    with zipfile.ZipFile(tmp_path / "p.zip") as archive:
        archive.extractall(tmp_path / "whole")
    for path in ("p.zip", "whole", "whole/chest_xray"):
        table, _, about = listed(tmp_path / path)
        assert (about["synthetic"], about["title"]) == (True, "Phantoms") and table["named"].all()
    assert judge(tmp_path / "p.zip", out=tmp_path / "kept.json")["of_test"] == 0


# Fault 3: wrong reasons. See test_outside, too


def test_reasons_are_counted_by_class_and_figures_given_without(hospital, monkeypatch):
    def reasons(self, pixels):
        return ["it is bright" if one.mean() > 130 else "it is dark" if one.mean() < 120 else "" for one in pixels]

    monkeypatch.setattr(outside.Check, "reasons", reasons)
    record, told = judge(hospital), {}
    for answer in predict.predict(predict.load(MODEL), [p for p in hospital.rglob("*") if p.is_file()]):
        if answer.outside:
            count = told.setdefault(answer.outside, {"NORMAL": 0, "PNEUMONIA": 0})
            count["PNEUMONIA" if "pneumonia" in answer.path else "NORMAL"] += 1
    assert record["reasons"] == told and record["outside"] == sum(sum(one.values()) for one in told.values())
    inside = record["groups"]["inside"]
    assert 0 < inside["metrics"]["images"] == 16 - record["outside"] < 16 and inside["outside"] == 0
    shown = elsewhere.as_text(record)
    for reason, count in told.items():
        assert f"{count['NORMAL']} + {count['PNEUMONIA']}: {reason}" in shown
    assert re.search(r"(?m)^inside +\d \+ \d", shown)


# Fault 4: patients could not be given. 5: no figures for groups


def test_intervals_are_over_the_patients_of_the_table(hospital):
    table = table_of(hospital, patient=lambda n, _: n // 5)
    record = judge(hospital, table=table)
    assert (record["patients"], record["patients_unknown"]) == (4, 0)
    alone = table_of(hospital, view=lambda n, _: n % 2)
    shutil.rmtree(hospital / "Normal/N0")  # a row more than there are images
    with pytest.raises(BadInput, match="films.csv, line 2: path 'Normal/N0/1.2|line 2: path 'Normal/N0/a.jpg' fits no"):
        judge(hospital, table=alone)
    for place in hospital.glob("*/*"):
        for film in place.iterdir():
            film.rename(place.parent / f"{place.name}-{film.name}")
        place.rmdir()
    shown = elsewhere.as_text(judge(hospital))
    assert "bootstrap over images" in shown and "NORMAL numbers" not in shown and "Patients of 14 images" in shown


def test_each_value_of_a_column_has_its_figures(hospital, tmp_path, monkeypatch):
    monkeypatch.setattr(
        labelled, "goes_with", lambda column, value, answered: f"{column}: {len(answered)} {len(value)}"
    )
    table = table_of(
        hospital, patient=lambda n, p: p.split("/")[1], age=lambda n, _: [3, 44][n % 2],
        view=lambda n, p: "AP" if ("Normal" in p) == (n % 4 > 0) else "PA",
    )  # fmt: skip
    record = judge(hospital, table=table, by=["view", "age"], out=tmp_path / "kept.json")
    said = files.read_csv(table).set_index("path")
    kept = evaluation.read_predictions(tmp_path / "kept.predictions.csv.gz")
    for name, rows in {
        "view AP": said["view"] == "AP", "view PA": said["view"] == "PA", "age 0 to 4": said["age"] == 3,
        "age 40 to 64": said["age"] == 44,
    }.items():  # fmt: skip
        group = kept[kept["path"].map(rows)].assign(patient=lambda x: x["path"].map(said["patient"]))
        found = record["groups"][name]
        wanted = evaluation.judge_part(group, record["threshold"])
        assert found["metrics"]["at_half"]["auc"] == wanted["at_half"]["auc"]
        assert found["NORMAL"] + found["PNEUMONIA"] == len(group) and found["patients"] == group["patient"].nunique()
    assert record["notes"][-2:] == ["view: 16 16", "age: 16 16"]
    assert "view AP" in elsewhere.as_text(record)


def test_a_column_that_goes_with_the_label_is_told_with_the_figure_within(capsys):
    """All of the score is the column's here: pooled it looks good, within the values it knows nothing."""
    rng, view = np.random.default_rng(0), np.repeat(["AP", "PA"], 200)
    label = (rng.random(400) < np.where(view == "PA", 0.9, 0.1)).astype(int)
    answered = pd.DataFrame({"label": label, "probability": np.where(view == "PA", 0.7, 0.3)})
    said = labelled.goes_with("view", pd.Series(view, dtype="category"), answered)
    pooled = evaluation.metrics(label, answered["probability"])["auc"]
    assert pooled > 0.85 and f"AUC is {pooled:.3f} over all, 0.500 within" in said
    other = pd.Series(rng.permutation(view), dtype="category")
    assert labelled.goes_with("view", other, answered) == ""
    apart = pd.Series(np.where(label, "ward", "home"), dtype="category")
    assert "100% of ward, 0% of home" in labelled.goes_with("place", apart, answered)
    assert "not known within" in labelled.goes_with("place", apart, answered)


@given(st.data())
def test_rows_of_a_table_find_their_images_in_any_order_and_however_short(tmp_path_factory, data):
    names = st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map("/".join)
    paths = pd.Series(data.draw(st.lists(names, min_size=1, max_size=8, unique=True)))
    rows = []
    for number, path in data.draw(st.permutations(list(paths.items()))):
        ends = ["/".join(path.split("/")[start:]) for start in range(path.count("/") + 1)]
        clear = [end for end in ends if sum(f"/{other}".endswith(f"/{end}") for other in paths) == 1]
        longer = [f"data/{path}"] if not any(f"/data/{path}".endswith(f"/{o}") for o in paths if o != path) else []
        rows.append((number, data.draw(st.sampled_from([path, *clear, *longer] if path in clear else clear or [path]))))
    table = tmp_path_factory.mktemp("t") / "t.csv"
    pd.DataFrame({"path": [path for _, path in rows], "row": [n for n, _ in rows]}).to_csv(table, index=False)
    try:
        found = labelled.read_table(table, paths)
    except BadInput as error:  # a path that is the end of another one can't be told from it
        assert "fits 2 images" in str(error) or re.search(r"fits \d images", str(error))
        return
    assert found["row"].astype(int).tolist() == found.index.tolist() == [number for number, _ in rows]


def test_ages_make_bands_in_their_order_and_too_many_values_no_groups():
    said = pd.DataFrame({"age": [str(n) for n in range(4, 40)], "n": [str(n) for n in range(36)]}, dtype="string")
    found = labelled.values(said, "age", where="t.csv")
    assert found.cat.categories.tolist() == ["0 to 4", "5 to 10", "11 to 17", "18 to 39"]
    assert found.tolist()[:2] == ["0 to 4", "5 to 10"]
    with pytest.raises(BadInput, match="--by n: has 36 values for these images in t.csv; groups need 2 to 20"):
        labelled.values(said, "n", where="t.csv")


# Fault 6: one class, other names, no test, small letters


@pytest.mark.parametrize(("kept", "metric"), [("Normal", "specificity"), ("pneumonia", "sensitivity")])
def test_one_class_alone_gives_what_can_be_given(hospital, kept, metric):
    shutil.rmtree(hospital / ("Normal" if kept == "pneumonia" else "pneumonia"))
    record = judge(hospital, covered=True)
    found = record["metrics"]["at_half"]
    assert {name for name, one in found.items() if one["value"] is not None} == {metric}
    answers = list(predict.predict(predict.load(MODEL), [p for p in hospital.rglob("*") if p.is_file()]))
    right = np.mean([(one.probability >= 0.5) == (kept == "pneumonia") for one in answers])
    assert found[metric]["value"] == pytest.approx(right) and found[metric]["low"] <= right <= found[metric]["high"]
    assert record["shortcuts"]["all"] == {} and metric in elsewhere.as_text(record)


@pytest.mark.parametrize("above", ["", "test", "Test", "a/b/chest_xray/test"])
@pytest.mark.parametrize(("classes", "options"), [
    (("NORMAL", "PNEUMONIA"), {}), (("0_normal", "1_abnormal"), {"normal": "x, 0_Normal", "pneumonia": "1_abnormal"}),
])  # fmt: skip
def test_any_layout_is_taken(tmp_path, above, classes, options):
    films(tmp_path / "h" / above, classes=classes)
    table, left_out, _ = listed(tmp_path / "h", **options)
    assert (table["split"] == "test").all() and table["label"].sum() == 8 and len(table) == 16 and left_out == []


def test_folders_that_are_none_of_patients_are_not_taken_for_them(tmp_path):
    for name in dataset.CLASSES:
        (tmp_path / "h" / name / "images").mkdir(parents=True)
        for number in range(3):
            Image.new("L", (9, 9), number + 3 * len(name)).save(tmp_path / f"h/{name}/images/{number}.png")
    assert listed(tmp_path / "h")[0]["patient"].isna().all()


# Covering


def test_shortcuts_are_measured_for_each_group(hospital):
    table = table_of(hospital, view=lambda n, _: "AP" if n % 2 else "PA")
    record = judge(hospital, table=table, by=["view"], covered=True)
    predictor, kept = predict.load(MODEL), []
    paths = sorted(path for path in hospital.rglob("*") if path.is_file())
    list(predict.predict(predictor, paths, kept=kept))
    frame = pd.DataFrame({"label": ["pneumonia" in str(p) for p in paths], "patient": [p.parent.name for p in paths]})
    whole = shortcuts.measure(predictor.model, np.stack(kept), frame.astype({"label": int}))
    for change in elsewhere.SHORTCUTS:
        assert record["shortcuts"]["all"][change]["value"] == pytest.approx(whole.loc[change, "value"], abs=1e-4)
    part = shortcuts.measure(predictor.model, np.stack(kept)[1::2], frame[1::2].astype({"label": int}))
    found = record["shortcuts"]["view AP"]["central chest covered"]
    assert found["value"] == pytest.approx(part.loc["central chest covered", "value"], abs=1e-4)
    assert "all but border covered" in elsewhere.as_text(record)


# The ledger


def test_a_reading_of_another_hospital_is_entered_where_a_ledger_is_kept(hospital, tmp_path):
    judge(hospital, out=tmp_path / "mine.json")
    assert not (tmp_path / "test_reads.csv").exists()
    results = tmp_path / "results"
    results.mkdir()
    (results / "test_reads.csv").write_text("date,cell,identity,protocol,reads,remark\n")
    for _ in range(2):
        record = judge(hospital, out=results / "elsewhere/city.json")
    ledger = pd.read_csv(results / "test_reads.csv")
    assert ledger[["cell", "identity", "reads"]].to_numpy().tolist() == [["city", record["identity"], 0]]


# Bad input


@pytest.mark.parametrize(("table", "options", "words"), [
    ("file,view\na.jpg,AP\n", [], "films.csv: column 'path' is missing"),
    ("path,view\nNormal/N0/gone.jpg,AP\n", [], "films.csv, line 2: path 'Normal/N0/gone.jpg' fits no image"),
    ("path,view\na.jpg,AP\n", [], "films.csv, line 2: path 'a.jpg' fits 8 images"),
    ("path,view\nNormal/N0/a.jpg,AP\nN0/a.jpg,AP\n", [], "films.csv, line 3: path 'N0/a.jpg' stands there twice"),
    ("path,view\nNormal/N0/a.jpg,AP\n", [], "films.csv: no row fits 15 of 16 images, first Normal/N0/b.png"),
    (None, ["--by", "vieuw"], "--by vieuw: "),
    (None, ["--by", "vieuw"], "no such column; it has path, view, one"),
    (None, ["--by", "one"], "--by one: has 1 value"),
    ("", ["--by", "view"], "--by view: no table has it; name one by --table"),
    ("", ["--normal", "healthy", "--pneumonia", "ill"], "no image in it lies in a folder named healthy or ill"),
    ("", ["--normal", "x", "--pneumonia", "X"], "--normal x, --pneumonia X: each names other folders"),
    ("", ["--path", "broken"], "none of the 1 images of"),
])  # fmt: skip
def test_a_wrong_table_or_name_is_one_line(hospital, tmp_path, monkeypatch, capsys, table, options, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken/NORMAL").mkdir(parents=True)
    (tmp_path / "broken/NORMAL/a.png").write_bytes(b"none")
    path = (
        table_of(hospital, view=lambda n, _: n % 2, one=lambda n, _: "x") if table is None else tmp_path / "films.csv"
    )
    if table:
        path.write_text(table)
    arguments = ["evaluate", "--model", str(MODEL), "--source", "folder"]
    arguments += [] if "--path" in options else ["--path", "hospital"]
    arguments += [] if table == "" else ["--table", "films.csv"]
    assert cli.main([*arguments, *options]) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.count("\n") == 1 and words in shown.err


def test_a_member_that_is_broken_is_named_and_the_others_judged(hospital, tmp_path):
    path = Path(shutil.make_archive(str(tmp_path / "h"), "zip", hospital))
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo("Normal/N0/b.png")
    content[info.header_offset + 60] ^= 0xFF
    path.write_bytes(content)
    record = judge(path)
    assert record["unreadable"] == ["Normal/N0/b.png"] and record["metrics"]["images"] == 15


def test_the_digest_is_that_of_the_contents(hospital):
    table, _, about = listed(hospital)
    for row in table.itertuples():
        assert row.sha256 == hashlib.sha256((hospital / row.path).read_bytes()).hexdigest()
    assert about["title"] == "Images of another origin" and about["synthetic"] is False
