"""Films of two public collections of children are laid out for `cxr evaluate`."""

import numpy as np
import pandas as pd
import pytest
from helpers import dicom_file, workflow

from cxr_utils.errors import BadInput
from cxr_utils.predict import labelled

children = workflow("children")
pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR AS")  # as RSNA writes ages


def film(path, number, **header):
    path.parent.mkdir(parents=True, exist_ok=True)
    dicom_file(path, np.random.default_rng(number).integers(0, 256, (40, 40)).astype(np.uint8), **header)


@pytest.fixture
def rsna(tmp_path):
    about = [  # patient, class, age
        ("a", "Normal", "9"),
        ("b", "Lung Opacity", "010Y"),
        ("b", "Lung Opacity", "010Y"),
        ("c", "Normal", "11"),
        ("d", "No Lung Opacity / Not Normal", "3"),
        ("e", "Lung Opacity", "010M"),
        ("f", "Normal", ""),
    ]
    for number, (name, _, age) in enumerate(about):
        film(
            tmp_path / "stage_2_train_images" / f"{name}.dcm", number, PatientAge=age, PatientSex="F", ViewPosition="AP"
        )
    table = pd.DataFrame([row[:2] for row in about], columns=["patientId", "class"])
    table.to_csv(tmp_path / "stage_2_detailed_class_info.csv", index=False)
    return tmp_path


def test_the_children_of_rsna_are_laid_out_and_can_be_read(rsna, capsys):
    assert children.main(["rsna", str(rsna)]) == 0
    assert "1 NORMAL, 2 PNEUMONIA" in capsys.readouterr().out
    with labelled.opened(rsna / "children", named=labelled.classes()) as (films, left_out, *_):
        about = labelled.read_table(rsna / "children.csv", films["path"])
        assert films["label"].tolist() == [0, 1, 1] and left_out == []
        assert about.loc[films.index, "age"].astype(float).round(2).tolist() == [9, 10, 0.83]
        assert set(about["view"]) == {"AP"}


def test_what_is_there_already_stays(rsna, capsys):
    assert children.main(["rsna", str(rsna)]) == 0
    (rsna / "children" / "mine").touch()
    assert children.main(["rsna", str(rsna)]) == 1
    assert "move it away" in capsys.readouterr().out and (rsna / "children" / "mine").is_file()


def test_a_film_that_is_missing_is_named_and_nothing_is_begun(rsna, capsys):
    (rsna / "stage_2_train_images" / "e.dcm").unlink()
    assert children.main(["rsna", str(rsna)]) == 1
    assert "e.dcm" in capsys.readouterr().out and not (rsna / "children").exists()


def test_vindr_gives_no_finding_and_pneumonia_of_both_parts(tmp_path):
    for number, (part, name) in enumerate([("train", "a"), ("train", "b"), ("train", "c"), ("test", "d")]):
        film(tmp_path / part / f"{name}.dicom", number)
    columns = ["image_id", "No finding", "Pneumonia"]
    pd.DataFrame([("a", 1, 0), ("b", 0, 1), ("c", 0, 0)], columns=columns).to_csv(
        tmp_path / "image_labels_train.csv", index=False)  # fmt: skip
    pd.DataFrame([("d", 0, 1)], columns=columns).to_csv(tmp_path / "image_labels_test.csv", index=False)
    table = children.lay_out(children.vindr(tmp_path), tmp_path)
    assert table["path"].tolist() == ["NORMAL/a.dcm", "PNEUMONIA/b.dcm", "PNEUMONIA/d.dcm"]


def test_a_folder_of_something_else_is_refused(tmp_path):
    with pytest.raises(BadInput, match="stage_2_detailed_class_info"):
        children.lay_out(children.rsna(tmp_path), tmp_path)
