import importlib
import math
import re
import sys
import tomllib
from pathlib import Path

import pandas as pd
import pytest

from cxr_utils import recipes
from cxr_utils.errors import BadInput


@pytest.mark.parametrize(
    ("name", "parameters", "trainable"),
    [
        ("plain_64", 683_329, 683_329),
        ("batchnorm_224", 2_099_201, 2_098_113),
        ("plain_300", 1_983_009, 1_983_009),
        ("plain_224", 4_349_897, 4_349_897),
        ("separable_180", 3_496_801, None),
        ("smote_224", 13_131_745, 13_131_745),  # not published: of the reconstruction
        ("reference", 479_889, 478_545),  # our own
        ("reference_2", 479_889, 478_545),
    ],
)
def test_parameters_are_the_published_ones(name, parameters, trainable):
    model = recipes.get(name).build(compiled=False)
    assert model.count_params() == parameters
    assert trainable in (None, sum(math.prod(variable.shape) for variable in model.trainable_variables))


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_builds_small_and_says_where_it_comes_from(name):
    recipe = recipes.get(name)
    size = max(64, recipe.image_size // 2 + recipe.image_size // 8)
    model = recipe.at(image_size=size, width=0.25).build()
    assert model.input_shape == (None, size, size, recipe.channels)
    assert recipe.name == name and recipe.system
    if recipe.split:  # published, not our own
        assert any(other.claims for other in map(recipes.get, recipes.names()) if other.system == recipe.system)
    table = recipe.table()
    assert table["value"].map(bool).all() and table.loc["interpolation", "value"] == recipe.interpolation
    assert set(recipe.reasons) <= set(table.index)


def test_variations_add_layers_and_penalties():
    recipe = recipes.get("plain_224").at(image_size=64, width=0.25)
    kinds = [type(layer).__name__ for layer in recipe.but(batchnorm=True, dropout=0.2, l2=1e-3).build().layers]
    assert kinds.count("BatchNormalization") == kinds.count("Dropout") == 3
    assert len(recipe.but(l2=1e-3).build().losses) == 4
    assert not recipe.build().losses


def test_the_same_seed_gives_the_same_first_weights():
    recipe = recipes.get("plain_224").at(image_size=64, width=0.25)
    first, same, other = (recipe.build(seed=s).get_weights()[0] for s in (1, 1, 2))
    assert (first == same).all() and (first != other).any()


def test_unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(BadInput, match="plain_224"):
        recipes.get("resnet")
    with pytest.raises(BadInput, match="learning_rate"):
        recipes.get("plain_224").but(lr=1)


def test_settings_that_came_later_are_kept_only_where_they_are_used():
    recipe = recipes.get("plain_64")
    assert not {"weight_decay", "cosine", "label_smoothing"} & set(recipe.settings())
    assert recipe.but(cosine=True).settings() == recipe.settings() | {"cosine": True}


def test_weight_decay_spares_biases_and_batchnorm_and_labels_are_smoothed():
    recipe = recipes.get("batchnorm_224").at(image_size=96, width=0.125)
    model = recipe.but(optimizer="adamw", weight_decay=0.02, label_smoothing=0.1).build()
    spared = {v.path.rsplit("/", 1)[1] for v in model.trainable_variables if not model.optimizer._use_weight_decay(v)}
    assert spared == {"bias", "gamma", "beta"} and model.optimizer.weight_decay == 0.02
    assert float(model.loss([[1.0]], [[1.0]])) > 0.5  # sure, and right, but the label is .95
    assert recipe.build().loss == "binary_crossentropy"


ADAM = {"optimizer": "adam", "learning_rate": 1e-3, "loss": "binary_crossentropy", "imbalance": "none"}
STOPS = {"monitor": "val_loss", "patience": 5, "restore_best_weights": True}
#: The systems as published, typed from what their authors wrote and coded, not from the recipes.
FACTS = {
    "plain_64": ADAM | {
        "image_size": 64, "channels": 3, "interpolation": "nearest", "batch_size": 32, "epochs": 5,
        "augmentation": {"shear": 0.2, "zoom": 0.2, "horizontal_flip": True}, "split": {"validation": "test"},
        "layers": "C32 P C64 P C128 P F D128 O0.5 D1",
    },
    "softmax_64": ADAM | {
        "loss": "categorical_crossentropy", "image_size": 64, "channels": 3, "interpolation": "nearest",
        "batch_size": 32, "epochs": 50, "early_stopping": STOPS,
        "augmentation": {"shear": 0.2, "zoom": 0.2, "horizontal_flip": True}, "split": {"validation": "test"},
        "layers": "C32 P C64 P C128 P F D128 O0.5 D2",
    },
    "batchnorm_224": ADAM | {
        "learning_rate": 3e-5, "image_size": 224, "channels": 3, "interpolation": "nearest", "batch_size": 32,
        "epochs": 50, "early_stopping": STOPS | {"min_delta": 1e-7},
        "reduce_lr": {"monitor": "val_loss", "factor": 0.2, "patience": 2},
        "augmentation": {"rotation": 0.1, "width_shift": 0.1, "height_shift": 0.1, "shear": 0.2, "zoom": 0.2,
                         "horizontal_flip": True},
        "split": {"validation": 0.2, "of": "train and val", "random_state": 42},
        "layers": "C32 B P C64 O0.1 B P C64 B P C128 O0.2 B P C256 O0.2 B P F D256 O0.2 D128 O0.2 D1",
    },
    "plain_300": ADAM | {
        "image_size": 300, "channels": 3, "interpolation": "nearest", "batch_size": 128, "epochs": 50,
        "augmentation": {"shear": 0.2, "zoom": 0.2, "horizontal_flip": True}, "split": {"validation": "test"},
        "layers": "C16 P C32 P C64 P C128 P C128 P F D256 D512 D1",
    },
    "smote_224": ADAM | {
        "learning_rate": 1e-4, "image_size": 224, "channels": 1, "interpolation": "area", "batch_size": 32,
        "epochs": 50, "early_stopping": STOPS, "imbalance": "smote",
        "split": {"validation": 0.1, "of": "train", "random_state": 42},
        "layers": "S32 S32 P O0.25 S64 S64 P O0.25 S128 S128 P O0.25 F D128 D1",
    },
    "plain_224": ADAM | {
        "image_size": 224, "channels": 1, "interpolation": "nearest", "batch_size": 32, "epochs": 10,
        "augmentation": {"rotation": 0.2, "width_shift": 0.2, "height_shift": 0.2, "zoom": 0.2,
                         "horizontal_flip": True},
        "split": {"validation": "test"}, "layers": "C16 P C32 P C64 P F D100 D1",
    },
    "separable_180": ADAM | {
        "image_size": 180, "channels": 3, "interpolation": "bilinear", "batch_size": 128, "epochs": 125,
        "early_stopping": STOPS | {"patience": 10, "start_from_epoch": 25}, "imbalance": "class_weight",
        "schedule": {"from_epoch": 25, "start": 0.01, "factor": 0.1, "epochs": 20},
        "split": {"validation": 0.2, "of": "train and val", "stratify": False},
        "layers": "S16 S16 P X32 X32 B P X64 X64 B P X128 X128 B P O0.2 X256 X256 B P O0.2 F "
                  "D512 B O0.7 D128 B O0.5 D64 B O0.3 D1",
    },
}  # fmt: skip
FACTS["smote_224_slim"] = FACTS["smote_224"] | {"layers": "S16 S16 P O0.25 S32 S32 P O0.25 S64 S64 P O0.25 F D128 D1"}


def spell(model):
    """Write layers as FACTS does: C a 3x3 convolution, S one with padding, X a separable one, P pooling by two."""
    words = []
    for layer in model.layers:
        kind, config = type(layer).__name__, layer.get_config()
        letter = {"MaxPooling2D": "P", "BatchNormalization": "B", "Flatten": "F", "Dropout": "O", "Dense": "D",
                  "SeparableConv2D": "X"}.get(kind, "C" if config.get("padding") == "valid" else "S")  # fmt: skip
        if letter in "CSX":
            assert tuple(config["kernel_size"]) == (3, 3) and tuple(config["strides"]) == (1, 1)
            assert config["activation"] == "relu" and (letter == "C") == (config["padding"] == "valid")
        if letter == "P":
            assert tuple(config["pool_size"]) == tuple(config["strides"]) == (2, 2) and config["padding"] == "valid"
        words.append(f"{letter}{config.get('filters', config.get('units', config.get('rate', '')))}")
    return " ".join(words)


@pytest.mark.parametrize("name", [name for name in recipes.names() if recipes.get(name).published])
def test_each_field_is_that_of_the_published_system(name):
    recipe, wanted = recipes.get(name), FACTS[name]
    for field in ("early_stopping", "reduce_lr", "schedule"):
        assert getattr(recipe, field) == wanted.get(field), field
    given = recipe.augmentation.settings() if recipe.augmentation else {}
    assert {key: value for key, value in given.items() if value} == wanted.get("augmentation", {})
    for field in wanted.keys() - {"early_stopping", "reduce_lr", "schedule", "augmentation", "layers"}:
        assert getattr(recipe, field) == wanted[field], field
    ours = ("weight_decay", "cosine", "label_smoothing", "views", "threshold", "dropout", "l2", "batchnorm")
    assert not any(getattr(recipe, field) for field in ours) and recipe.width == 1  # nothing of ours is in it
    model = recipe.build(compiled=False)
    assert spell(model) == wanted["layers"]
    outputs = {"binary_crossentropy": "sigmoid", "categorical_crossentropy": "softmax"}
    assert model.layers[-1].get_config()["activation"] == outputs[recipe.loss]
    dense = [layer.get_config()["activation"] for layer in model.layers[:-1] if type(layer).__name__ == "Dense"]
    assert set(dense) == {"relu"}


COPIES = pd.DataFrame({"width": [224], "height": [224]})
ORIGINALS = pd.DataFrame({"width": [1317, 408], "height": [857, 304]})


def test_how_pictures_are_shrunk_counts_only_where_pixels_change():
    changed = {name for name in recipes.names() if recipes.get(name).of(COPIES).interpolation != "area"}
    assert changed == {"plain_64", "softmax_64"}
    for name in recipes.names():
        recipe = recipes.get(name)
        assert recipe.of(ORIGINALS) == recipe
        assert ("interpolation" in recipe.of(ORIGINALS).settings()) == (recipe.interpolation != "area")
        assert recipe.at(width=0.5).interpolation == "area"


def test_every_claim_has_an_address_with_its_commit():
    count = 0
    for recipe in map(recipes.get, recipes.names()):
        assert bool(recipe.published) == bool(recipe.split)
        for claim in recipe.claims:
            address = recipe.published.link(claim)
            where = r"https://github\.com/[\w.-]+/[\w.-]+/blob/[0-9a-f]{40}/[\w./%-]+(\?plain=1#L\d+)?"
            assert re.fullmatch(where, address), address
            assert re.fullmatch(r"(line|cell|section) \d+|picture", claim.place), claim.text
            assert (claim.place.startswith("line")) == ("#L" in address)
            assert (claim.place.startswith("cell")) == claim.file.endswith(".ipynb")
            count += 1
    assert count == 28


CLAIM = '[[claim]]\ntext = "all right"\nsource = "README"\nmetric = "test_accuracy"\nvalue = 1.0\n'


@pytest.fixture
def beside(tmp_path, monkeypatch):
    """Return where the claims of a recipe "mine" stand."""
    (tmp_path / "mine.py").write_text("from cxr_utils.recipes.reference import RECIPE", "utf-8")
    monkeypatch.setattr(recipes, "__path__", [*recipes.__path__, str(tmp_path)])
    importlib.invalidate_caches()
    yield tmp_path / "mine.toml"
    sys.modules.pop("cxr_utils.recipes.mine", None)
    vars(recipes).pop("mine", None)


def test_claims_are_read_from_the_file_beside_the_recipe(beside):
    assert recipes.get("mine").claims == ()
    beside.write_text("# none yet\n", "utf-8")
    assert recipes.get("mine").claims == ()
    given = {"0.5": 0.5, "93": 93, '"children"': "children", "[0.1, 0.2]": (0.1, 0.2), "[1341, 3875]": (1341, 3875),
             "[0.0, inf]": (0.0, None), "[-inf, 0]": (None, 0)}  # fmt: skip
    beside.write_text("\n".join(CLAIM.replace("1.0", value) for value in given), "utf-8")
    assert recipes.get("mine").claims == tuple(
        recipes.Claim(text="all right", source="README", metric="test_accuracy", value=value)
        for value in given.values()
    )


@pytest.mark.parametrize(
    ("now", "says"),
    [
        (CLAIM.replace("[[claim]]", "[claim]"), "'claim' is not one of its claims; each begins with a line [[claim]]"),
        (CLAIM.replace("[[claim]]", "[[claims]]"), "'claims' is not one of its claims; each begins with a line"),
        ('note = "first"\n' + CLAIM, "'note' is not one of its claims"),
        ("claim = [1, 2]", "'claim' is not one of its claims"),
        (CLAIM.replace("1.0", "93%"), "can't be read (Expected newline"),
        (CLAIM.replace("1.0", "100_"), "line 5"),
        (CLAIM.replace("all right", "\udcff"), "can't be read ('utf-8' codec"),
        (CLAIM * 2 + "metrik = 1", "claim 2 ('all right'), its field: 'metrik'; choose one of text, source, file"),
        (CLAIM.replace("metric", "metrik"), "its field: 'metrik'; choose one of"),
        (CLAIM.replace("text", "#"), "claim 1 ('without text'): 'text' is missing; add a line text = ..."),
        (CLAIM.replace("value", "#"), "claim 1 ('all right'): 'value' is missing"),
        (CLAIM.replace('"all right"', "5"), "claim 1 (5): text is 5; it must be text in quotes"),
        (CLAIM + 'n = "624"', "claim 1 ('all right'): n is '624'; it must be a whole number"),
        (CLAIM + "n = 624.0", "n is 624.0; it must be a whole number"),
        (CLAIM + "place = 2024-02-29", "it must be text in quotes"),
        *(
            (CLAIM.replace("1.0", value), "it must be a number, text in quotes, or a pair such as")
            for value in (
                "true", "[]", "[0.1]", "[0, 1, 2]", "[nan, 1]", "[0, nan]", "[inf, 0]", "[0, -inf]", "[true, 1]",
                '["a", 1]', "{ low = 0 }",
            )
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_claim_is_said_in_one_line_with_its_file(beside, now, says):
    beside.write_bytes(now.encode("utf-8", "surrogateescape"))
    with pytest.raises(BadInput, match=re.escape(says)) as raised:
        recipes.get("mine")
    assert str(raised.value).startswith(f"{beside}: ") and str(raised.value).isprintable()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "[system]: 'repository' is missing; add a line repository = ..."),
        ("system = 1", "[system]: 'repository' is missing"),
        ("[system]\ncommit = 1", "[system]: commit is 1; it must be text in quotes"),
        ("[system]\nlicense = 'MIT'", "[system], its field: 'license'; choose one of repository, commit"),
        (None, "can't be read ([Errno 2]"),
    ],
)
def test_what_is_wrong_with_an_address_is_said_in_one_line_with_its_file(tmp_path, content, says):
    if content is not None:
        (tmp_path / "mine.toml").write_text(content, "utf-8")
    with pytest.raises(BadInput, match=re.escape(says)) as raised:
        recipes.System.beside(str(tmp_path / "mine.py"))
    assert str(raised.value).startswith(f"{tmp_path / 'mine.toml'}: ") and str(raised.value).isprintable()


def test_every_file_of_claims_stands_beside_a_recipe_and_is_packed():
    files = sorted(Path(recipes.__file__).parent.glob("*.toml"))
    assert files and {file.stem for file in files} == {name for name in recipes.names() if recipes.get(name).claims}
    packed = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    assert "*.toml" in packed["package-data"]["*"]


def test_the_sources_stand_once_a_system():
    table = recipes.sources()
    assert list(table["system"]) == ["000", "001", "002", "003", "004", "keras.io"]
    assert table["link"].str.fullmatch(r"https://github\.com/\S+/tree/[0-9a-f]{40}").all()
    assert pd.to_datetime(table["date"]).between("2020-01-01", "2026-01-01").all()
    assert table.notna().all(axis=None) and (table != "").all(axis=None)
