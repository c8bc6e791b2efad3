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
        ("smote_224", 13_131_745, 13_131_745),  # not published: of the reconstruction
        ("reference", 479_889, 478_545),  # our own
    ],
)
def test_parameters_are_the_published_ones(name, parameters, trainable):
    model = recipes.get(name).build(compiled=False)
    assert model.count_params() == parameters
    assert sum(int(variable.value.numpy().size) for variable in model.trainable_variables) == trainable


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_builds_small_and_says_where_it_comes_from(name):
    recipe = recipes.get(name)
    size = max(64, recipe.image_size // 2 + recipe.image_size // 8)
    model = recipe.at(image_size=size, width=0.25).build()
    assert model.input_shape == (None, size, size, recipe.channels)
    assert recipe.name == name and recipe.system
    if recipe.split:  # published, not our own
        assert any(other.claims for other in map(recipes.get, recipes.names()) if other.system == recipe.system)
    assert recipe.table()["value"].map(bool).all()


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
