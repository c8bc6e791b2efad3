"""What the examples in docstrings find: names that stand for a small data set, and an empty folder to work in."""

import ast
import os
import sys

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pytest

#: Scripts, which do their work when they are imported.
collect_ignore = ["benchmarks", "build", "notebooks/source", "tests/replication/audited", "workflow"]
NAMES = ("folder", "index", "model", "pictures", "pixels", "predictions", "run", "split", "train")


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Return a folder of 60 phantoms, in the layout of the dataset."""
    from cxr_utils.sources import phantom

    made = tmp_path_factory.mktemp("examples") / "phantoms"
    phantom.write(made, n=60)
    return made


@pytest.fixture(scope="session")
def index(folder):
    """Return the index of the phantoms."""
    from cxr_utils import dataset

    return dataset.scan(folder)


@pytest.fixture(scope="session")
def pixels(index, folder):
    """Return their image cache, 32 px a side."""
    from cxr_utils import images

    return images.cache(index, folder, size=32)


@pytest.fixture(scope="session")
def split(index):
    """Return a split of them, grouped by patient."""
    from cxr_utils import splits

    return splits.grouped(index, seed=0)


@pytest.fixture(scope="session")
def train(split):
    """Tell which of them are for training."""
    return (split["part"] == "train").to_numpy()


@pytest.fixture(scope="session")
def run(pixels, split, tmp_path_factory):
    """Return a training of one epoch on them."""
    from cxr_utils import recipes, training

    recipe = recipes.get("plain_224").at(image_size=32, width=0.25)
    return training.fit(recipe, pixels, split, run_dir=tmp_path_factory.mktemp("runs") / "mine", epochs=1)


@pytest.fixture(scope="session")
def model(run):
    """Return its network."""
    return run.load_model()


@pytest.fixture(scope="session")
def pictures(pixels):
    """Return four of them as networks take them."""
    return pixels[:4].astype("float32") / 255


@pytest.fixture(scope="session")
def predictions(split):
    """Return a table of answers for them, more right than wrong."""
    import numpy as np

    table = split[split["part"] != "train"].rename(columns={"part": "split"})
    noise = np.random.default_rng(0).uniform(0.1, 0.7, len(table))
    columns = ["path", "patient", "split", "label", "probability", "kind"]
    return table.assign(probability=noise + 0.25 * table["label"])[columns].reset_index(drop=True)


@pytest.fixture(autouse=True)
def _example(request, doctest_namespace, tmp_path, monkeypatch):
    """Let each example work in a folder of its own, and make what it names."""
    if not isinstance(request.node, pytest.DoctestItem):
        yield
        return
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CXR_HOME", str(tmp_path))
    example = request.node.dtest
    read = ast.walk(ast.parse("".join(line.source for line in example.examples)))
    names = {node.id for node in read if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    doctest_namespace.clear()
    for name in names & set(NAMES) - set(example.globs):
        doctest_namespace[name] = request.getfixturevalue(name)
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


def pytest_collection_modifyitems(items):
    """Let examples pass over what is said of a data set as small as theirs."""
    for item in items:
        if isinstance(item, pytest.DoctestItem):
            item.add_marker(pytest.mark.filterwarnings("ignore:.*the number of images is not the one of"))
