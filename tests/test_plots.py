"""Every figure on a small table: what it returns, what its axes say, and how it reaches the page."""

import base64
import inspect
import io
import subprocess
import sys
import warnings

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from cxr_utils import evaluation, files, plots, sources
from cxr_utils.errors import BadInput

matplotlib.use("Agg")
RNG = np.random.default_rng(0)
KINDS = ["normal"] * 4 + ["bacteria"] * 5 + ["virus"] * 3
PIXELS = RNG.integers(0, 256, (12, 32, 32, 1)).astype("uint8")
INDEX = pd.DataFrame(
    {
        "split": ["train", "train", "val", "test"] * 3,
        "kind": KINDS,
        "label": [int(kind != "normal") for kind in KINDS],
        "patient": pd.array(["a", "a", "b", "c", "d", "d", "d", "e", "f", "g", "h", None], dtype="string"),
        "width": RNG.integers(400, 700, 12),
        "height": RNG.integers(400, 700, 12),
    }
)
LABELS = RNG.permutation([0] * 30 + [1] * 50)
PREDICTIONS = pd.DataFrame(
    {"label": LABELS, "probability": np.clip(0.3 * LABELS + RNG.random(80) * 0.7, 0, 1), "patient": None}
)
INTERVALS = evaluation.bootstrap(PREDICTIONS, draws=20)
HISTORY = pd.DataFrame(
    {
        "epoch": [1, 2, 3],
        "loss": [0.7, 0.5, 0.4],
        "accuracy": [0.5, 0.7, 0.8],
        "val_loss": [0.6, 0.4, 0.5],
        "val_accuracy": [0.6, 0.8, 0.7],
    }
)
COMPARED = pd.DataFrame(
    {
        "name": ["plain"] * 2 + ["augmentation and a rather long name"] * 2,
        "seed": [0, 1] * 2,
        "balanced_accuracy": [0.8, 0.9, 0.7, 0.75],
    }
)
LEAKS = pd.DataFrame(
    {
        "split": ["official"] * 2 + ["grouped"] * 2,
        "between": ["train / validation"] * 4,
        "leak": ["patients on both sides", "images with an exact duplicate"] * 2,
        "count": pd.array([13, 2, pd.NA, 0], dtype="Int64"),
    }
)
SHORTCUTS = pd.DataFrame(
    {"accuracy_cv": [0.74, np.nan, 0.9], "accuracy_test": [0.625, np.nan, 0.8]},
    index=["always PNEUMONIA", "width, height, mode", "eight statistics"],
)
CLAIMED = pd.DataFrame(
    {
        "recipe": ["plain_64", "smote_224", "plain_300", "plain_64"],
        "claim": ["accuracy 98%, set not stated", "87% in testing", "100% on 16 images", "4,538 images"],
        "value": [0.98, 0.87, 1.0, None],
        "low": [None, 0.84, 0.79, None],
        "high": [None, 0.9, 1.0, None],
        "ours": [0.88, None, None, None],
        "ours_min": [0.86, None, None, None],
        "ours_max": [0.9, None, None, None],
        "seeds": ["3 of 3", "0 of 3", "0 of 3", ""],
        "honest": [0.87, 0.77, None, None],
        "honest_low": [0.84, 0.74, None, None],
        "honest_high": [0.9, 0.8, None, None],
        "honest_seeds": ["3 of 3", "1 of 3", "0 of 3", ""],
    }
).astype({name: "Float64" for name in ("value", "low", "high", "ours", "ours_min", "ours_max", "honest")})
JUDGED = pd.DataFrame(
    {
        "system": ["system 000", "system 000", "ours"],
        "protocol": ["published", "honest", "honest"],
        "validation": [0.88, 0.95, 0.97],
        "test": [0.88, 0.89, 0.7],
    }
)
PAIRS = {
    "one mistake": pd.DataFrame({"seed": [0, 1], "wrong": [0.9, 0.95], "right": [0.8, 0.9]}),
    "without patients": pd.DataFrame({"seed": [0, 1], "wrong": [np.nan] * 2, "right": [np.nan] * 2}),
}
WORTH = pd.DataFrame({"points": [7.5, np.nan], "low": [-24, np.nan], "high": [39, np.nan]}, index=list(PAIRS))
FLOATS = RNG.normal(size=(20, 20))

AXES = {
    "class_counts": lambda ax=None: plots.class_counts(INDEX, ax=ax),
    "class_counts by kind": lambda ax=None: plots.class_counts(INDEX, by="kind", ax=ax),
    "class_shares": lambda ax=None: plots.class_shares(INDEX, ax=ax),
    "image_sizes": lambda ax=None: plots.image_sizes(INDEX, ax=ax),
    "image_sizes of one size": lambda ax=None: plots.image_sizes(INDEX.assign(width=9, height=9), ax=ax),
    "intensity_histograms": lambda ax=None: plots.intensity_histograms(PIXELS, INDEX["kind"], ax=ax),
    "intensity_histograms, black": lambda ax=None: plots.intensity_histograms(PIXELS * 0, KINDS, ax=ax),
    "images_per_patient": lambda ax=None: plots.images_per_patient(INDEX, ax=ax),
    "images_per_patient unknown": lambda ax=None: plots.images_per_patient(INDEX.assign(patient=pd.NA), ax=ax),
    "leak_bars": lambda ax=None: plots.leak_bars(LEAKS, ax=ax),
    "leak_bars of one split": lambda ax=None: plots.leak_bars(LEAKS[2:].drop(columns="split"), ax=ax),
    "shortcut_bars": lambda ax=None: plots.shortcut_bars(SHORTCUTS, ax=ax),
    "descent": lambda ax=None: plots.descent([-1, 0, 1, 2], [4, 1, 0, 1], [-1, 1.2, 0.9], [4, 0.2, 0], ax=ax),
    "comparison": lambda ax=None: plots.comparison(COMPARED, ax=ax),
    "confusion": lambda ax=None: plots.confusion(evaluation.confusion(LABELS, PREDICTIONS["probability"]), ax=ax),
    "roc": lambda ax=None: plots.roc(PREDICTIONS, ax=ax),
    "roc of six": lambda ax=None: plots.roc({str(i): PREDICTIONS for i in range(6)}, ax=ax),
    "precision_recall": lambda ax=None: plots.precision_recall({"plain": PREDICTIONS}, ax=ax),
    "score_histogram": lambda ax=None: plots.score_histogram(PREDICTIONS, 0.4, ax=ax),
    "threshold_sweep": lambda ax=None: plots.threshold_sweep(PREDICTIONS, ax=ax),
    "intervals": lambda ax=None: plots.intervals(INTERVALS, ax=ax),
    "intervals of two": lambda ax=None: plots.intervals(
        {"a": INTERVALS, "b": INTERVALS.assign(low=np.nan)}, metrics=["auc"], ax=ax
    ),
    "claim_forest": lambda ax=None: plots.claim_forest(CLAIMED, ax=ax),
    "claim_forest, nothing run": lambda ax=None: plots.claim_forest(CLAIMED[2:], ax=ax),
    "validation_against_test": lambda ax=None: plots.validation_against_test(JUDGED, ax=ax),
    "validation_against_test, nothing run": lambda ax=None: plots.validation_against_test(JUDGED[:0], ax=ax),
    "mistakes_worth": lambda ax=None: plots.mistakes_worth(WORTH, PAIRS, ax=ax),
    "predictive_values": lambda ax=None: plots.predictive_values(
        evaluation.predictive_values(0.9, 0.8, np.linspace(0, 1, 11)), ax=ax
    ),
}
FIGURES = {
    "image_grid": lambda: plots.image_grid(PIXELS[:5], titles=["a long title that has to be wrapped"] * 5),
    "image_grid of sizes": lambda: plots.image_grid([PIXELS[0], PIXELS[1, :9, :20, 0] / 255, FLOATS * 99]),
    "mean_images": lambda: plots.mean_images(PIXELS, INDEX["kind"]),
    "mean_images of one kind": lambda: plots.mean_images(PIXELS, ["bacteria"] * 12),
    "resize_comparison": lambda: plots.resize_comparison(PIXELS[0, :20, :, 0], 16),
    "smote_triplet": lambda: plots.smote_triplet(PIXELS[0], PIXELS[1] / 255, PIXELS[2], 0.25),
    "kernel_steps": lambda: plots.kernel_steps(PIXELS[0, :6, :6, 0], FLOATS[:3, :3], FLOATS[:4, :4]),
    "kernel_steps of zeros": lambda: plots.kernel_steps(FLOATS, np.zeros((3, 3)), FLOATS * 0),
    "feature_maps": lambda: plots.feature_maps(RNG.normal(size=(8, 8, 3)) * np.arange(3)),
    "feature_maps with titles": lambda: plots.feature_maps(FLOATS[:4, :4, None], titles=["kernel 0, before"]),
    "heat_maps": lambda: plots.heat_maps(PIXELS[:3], np.abs(FLOATS[:3, :4, None]) / np.abs(FLOATS).max()),
    "learning_curves": lambda: plots.learning_curves(HISTORY),
    "learning_curves of one epoch": lambda: plots.learning_curves(HISTORY[:1]),
    "calibration": lambda: plots.calibration(evaluation.calibration(LABELS, PREDICTIONS["probability"])),
    "decision_curve": lambda: plots.decision_curve(evaluation.net_benefit(LABELS, PREDICTIONS["probability"])),
    "decision_curve at three prevalences": lambda: plots.decision_curve(
        evaluation.net_benefit(LABELS, PREDICTIONS["probability"], prevalence=[None, 0.1, 0.3])
    ),
}


@pytest.fixture(autouse=True)
def clean():
    """Take any warning as an error, and leave no figure and no mark behind."""
    with warnings.catch_warnings(), matplotlib.rc_context():
        warnings.simplefilter("error")
        plots.style("folder", synthetic=False)
        yield
    plt.close("all")
    plots.style("folder", synthetic=False)


def texts(thing) -> list[str]:
    """Return all that is written in a figure."""
    figure = thing.get_figure()
    figure.canvas.draw()
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text) if text.get_visible()]


def check_text(figure) -> None:
    """No letters below 10 points; every axis has a name, or names at its ticks."""
    sizes = [t.get_fontsize() for t in figure.findobj(matplotlib.text.Text) if t.get_text().strip()]
    assert min(sizes, default=10) >= 10
    for ax in figure.axes:
        if ax.axison and ax.get_label() != "<colorbar>":
            shared = ax.get_shared_x_axes().get_siblings(ax)
            assert any(other.get_xlabel() for other in shared)
            assert ax.get_ylabel() or all(label.get_text() for label in ax.get_yticklabels())


def wide(png: bytes) -> bytes:
    """See that a projector shows it well, and that a page is not made of it alone."""
    assert 1_000 <= Image.open(io.BytesIO(png)).width < 1_100
    return png


def legend(ax) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


@pytest.fixture
def shown(monkeypatch):
    """Catch what would be displayed."""
    import IPython.display

    caught = []
    monkeypatch.setattr(IPython.display, "display", caught.append)
    return caught


@pytest.mark.parametrize("name", AXES)
def test_axes_functions_return_axes_and_render(name):
    ax = AXES[name]()
    assert isinstance(ax, Axes)
    check_text(ax.get_figure())
    assert len(wide(plots.render(ax))) < 40_000
    assert not plt.get_fignums()


@pytest.mark.parametrize("name", [name for name in AXES if " " not in name])
def test_axes_functions_draw_where_told(name):
    figure, ax = plt.subplots()
    assert AXES[name](ax=ax) is ax
    assert plt.get_fignums() == [figure.number]


@pytest.mark.parametrize("name", FIGURES)
def test_figure_functions_return_a_figure_and_render(name):
    figure = FIGURES[name]()
    assert isinstance(figure, Figure)
    check_text(figure)
    assert len(wide(plots.render(figure))) < 150_000
    assert not plt.get_fignums()


#: What the deck shows of these, on slides of 1280 x 720; of the forest, as many rows as there.
SLIDES = ("intervals of two", "shortcut_bars", "confusion", "roc", "predictive_values", "validation_against_test",
          "claim_forest")  # fmt: skip


@pytest.mark.parametrize("name", SLIDES)
def test_words_of_a_figure_on_a_slide_are_read_from_the_last_row(name):
    ax = plots.claim_forest(pd.concat([CLAIMED] * 2, ignore_index=True)) if name == "claim_forest" else AXES[name]()
    ax.figure.draw_without_rendering()
    box = ax.figure.get_tightbbox()
    words = [text for text in ax.figure.findobj(matplotlib.text.Text) if text.get_text().strip() and text.get_visible()]
    a_point = min(1280 / box.width, 720 / box.height) / 72
    assert min(text.get_fontsize() for text in words) * a_point >= 22


def test_every_public_function_is_tried():
    helpers = {"show", "style", "render"}
    functions = {name for name, thing in vars(plots).items() if inspect.isfunction(thing)} - helpers
    assert functions == {name.split()[0].rstrip(",") for name in (*AXES, *FIGURES)}


def test_show_embeds_the_text_and_closes_the_figure(shown):
    assert plots.show(plots.roc(PREDICTIONS), alt='Curve of "A" \n over B') is None
    data, metadata = shown[0]._repr_mimebundle_()
    assert Image.open(io.BytesIO(wide(base64.b64decode(data["image/png"])))).format == "PNG"
    assert metadata == {"image/png": {"alt": 'Curve of "A" over B'}}
    assert repr(shown[0]) == '[figure: Curve of "A" over B]'
    assert not plt.get_fignums()


def test_the_text_of_a_figure_says_the_values_that_it_draws(shown):
    matrix = evaluation.confusion([0, 0, 0, 0, 1], [0.1, 0.2, 0.3, 0.9, 0.9])
    found = evaluation.bootstrap(PREDICTIONS, draws=20)
    figure, axes = plt.subplots(1, 2)
    for ax, part in zip(axes, ("validation", "test"), strict=True):
        plots.confusion(matrix, ax=ax).set_title(part)
    counts = "of 4 NORMAL 1 are called PNEUMONIA, of 1 PNEUMONIA 1 are called PNEUMONIA"
    value, low, high = found.loc["auc", ["value", "low", "high"]]
    bars = pd.DataFrame({"accuracy_cv": [0.7, 0.9], "accuracy_test": [0.6, None]}, index=["majority", "size"])
    for drawn, wanted in {
        figure: f"validation: {counts}; test: {counts}",
        plots.intervals(found, metrics=["auc"]): f"AUC {value:.2f} ({low:.2f} to {high:.2f})",
        plots.comparison(COMPARED): "plain 0.85 (0.80 to 0.90)",
        plots.learning_curves(HISTORY): "the validation loss is lowest in epoch 2",
        plots.calibration(evaluation.calibration(LABELS, PREDICTIONS["probability"])): "where it says 0.",
        plots.shortcut_bars(bars): "majority 70.0% and 60.0%; size 90.0% and can't be shown here",
        plots.image_grid(np.zeros((2, 8, 8)), titles=["normal: 0.98", "virus: 0.01"]): "normal: 0.98, virus: 0.01",
    }.items():
        plots.show(drawn, alt="What is drawn")
        assert shown[-1].alt.startswith("What is drawn: ") and wanted in shown[-1].alt


@pytest.mark.parametrize("alt", ["", " \n", None])
def test_show_asks_for_a_text(alt):
    with pytest.raises(BadInput, match="^alt: "):
        plots.show(plt.figure(), alt=alt)


def test_show_takes_figures_only():
    with pytest.raises(BadInput, match="figure_or_axes: a list"):
        plots.show([plt.figure()], alt="a figure")


def test_a_failing_figure_is_closed_too(monkeypatch):
    figure = plt.figure()
    monkeypatch.setattr(figure, "savefig", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        plots.render(figure)
    assert not plt.get_fignums()


def test_show_in_a_kernel_gives_picture_and_text_to_the_page():
    """What IPython's own formatter makes of it, and that a page made by nbconvert can carry the text."""
    nbformat, nbconvert = pytest.importorskip("nbformat"), pytest.importorskip("nbconvert")
    from IPython.core.formatters import DisplayFormatter

    from cxr_utils.plots import _base

    data, metadata = DisplayFormatter().format(_base._Shown(plots.render(plt.figure()), alt="two < three"))
    assert set(data) == {"image/png", "text/plain"} and data["text/plain"] == "[figure: two < three]"
    output = nbformat.v4.new_output("display_data", data=data, metadata=metadata)
    cell = nbformat.v4.new_code_cell("1", outputs=[output])
    notebook = nbformat.v4.new_notebook(cells=[cell], metadata={"title": "page"})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of nbconvert's own
        page, _ = nbconvert.HTMLExporter(template_name="classic").from_notebook_node(notebook)
    assert 'alt="two &lt; three"' in page or 'alt="two < three"' in page


def test_show_works_outside_jupyter():
    code = (
        "import matplotlib; matplotlib.use('Agg')\n"
        "from cxr_utils import plots\nfrom matplotlib.pyplot import figure\n"
        "plots.show(figure(), alt='An empty figure')"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "[figure: An empty figure]", "")


@pytest.mark.parametrize(
    "source, synthetic, marked",
    [
        ("sample", None, True),
        ("folder", None, False),
        ("kaggle", None, False),
        ("folder", True, True),
        ("sample", False, False),
    ],
)
def test_phantoms_are_marked_and_real_images_are_not(source, synthetic, marked, tmp_path):
    plots.style(source, tmp_path, synthetic=synthetic)
    figure = plots.image_grid(PIXELS[:2])
    plots.render(figure)
    assert (plots.MARK in texts(figure)) is marked


def test_phantoms_in_a_folder_of_the_user_are_marked(tmp_path):
    about = dict.fromkeys(sources.RECORD, "x") | {"source": "folder", "synthetic": True}
    files.write_json(tmp_path / "folder" / "source.json", about)
    plots.style("folder", tmp_path)
    figure = plots.image_grid(PIXELS[:2])
    plots.render(figure)
    assert plots.MARK in texts(figure)


def test_a_figure_keeps_the_mark_that_it_was_made_with():
    with matplotlib.rc_context():
        plots.style("sample")
        phantoms = plots.image_grid(PIXELS[:2])
    real = plots.image_grid(PIXELS[:2])  # the look from before, and no mark
    for figure in (phantoms, real):
        plots.render(figure)
        assert (plots.MARK in texts(figure)) is (figure is phantoms)


def test_the_mark_covers_nothing():
    plain = Image.open(io.BytesIO(plots.render(plots.roc(PREDICTIONS))))
    plots.style("sample")
    marked = Image.open(io.BytesIO(plots.render(plots.roc(PREDICTIONS))))
    assert abs(marked.width - plain.width) < 10 and 14 <= marked.height - plain.height <= 40


def test_a_large_photographic_grid_stays_small_and_true():
    wave = np.hypot(*np.mgrid[-1:1:400j, -1:1:500j])
    pictures = [
        np.uint8(np.clip(150 + 60 * np.sin(9 * wave + i) + RNG.normal(0, 9, wave.shape), 0, 255)) for i in range(12)
    ]
    png = wide(plots.render(plots.image_grid(pictures, titles=["a title"] * 12)))
    assert len(png) < 250_000
    gray = np.asarray(Image.open(io.BytesIO(png)).convert("L"), float)
    assert len(np.unique(gray)) >= 16


def test_figures_are_the_same_each_time():
    assert plots.render(plots.class_counts(INDEX)) == plots.render(plots.class_counts(INDEX))


def test_style_is_safe_for_the_colour_blind():
    assert plots.CLASS_COLOURS == {"NORMAL": "#0072B2", "PNEUMONIA": "#D55E00"}
    assert len(set(plots.KIND_COLOURS.values())) == 4


def test_counts_name_classes_splits_and_numbers():
    ax = plots.class_counts(INDEX)
    assert legend(ax) == ["NORMAL", "PNEUMONIA"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["train", "val", "test"]
    heights = [[patch.get_height() for patch in bars] for bars in ax.containers]
    assert heights == [[2, 1, 1], [4, 2, 2]]
    assert [t.get_text() for t in ax.texts] == ["2", "1", "1", "4", "2", "2"]


def test_counts_by_kind():
    assert legend(plots.class_counts(INDEX, by="kind")) == ["normal", "bacteria", "virus"]
    unknown = INDEX.replace({"kind": {"bacteria": "unknown", "virus": "unknown"}})
    assert legend(plots.class_counts(unknown, by="kind")) == ["normal", "unknown"]


def test_shares_sum_to_one():
    ax = plots.class_shares(INDEX)
    assert sum(bars[0].get_width() for bars in ax.containers) == pytest.approx(1)
    assert "33%" in texts(ax) and "67%" in texts(ax)


def test_sizes_show_one_point_an_image():
    ax = plots.image_sizes(INDEX)
    assert sum(len(points.get_offsets()) for points in ax.collections) == len(INDEX)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("width (pixels)", "height (pixels)")
    assert legend(ax) == ["NORMAL", "PNEUMONIA"]


def test_intensities_are_shares_and_black_is_said():
    images = np.full((2, 4, 4, 1), 100, "uint8")
    images[0, :2] = 0
    ax = plots.intensity_histograms(images, ["normal", "virus"])
    assert legend(ax) == ["normal (below 4: 50%)", "virus (below 4: 0%)"]
    assert ax.patches[0].get_data().values.sum() == pytest.approx(1)
    assert ax.get_ylim()[1] > 1
    assert ax.get_xlabel() == "pixel value (0 black – 255 white)"


def test_images_per_patient():
    ax = plots.images_per_patient(INDEX)
    assert [[int(patch.get_height()) for patch in bars] for bars in ax.containers] == [[2, 1, 0], [4, 0, 1]]
    assert "The patients of these images are not known." in texts(plots.images_per_patient(INDEX.assign(patient=pd.NA)))


def test_leaks_say_unknown_where_no_patient_is_known():
    ax = plots.leak_bars(LEAKS)
    assert legend(ax) == ["official", "grouped"]
    assert [t.get_text() for t in ax.texts] == ["13", "2", "unknown", "0"]


def test_shortcuts_say_where_they_cannot_be_shown():
    written = texts(plots.shortcut_bars(SHORTCUTS))
    assert written.count("can't be shown here") == 2 and "62.5%" in written and "width, height, mode" in written


def test_grid_takes_all_sizes_and_scales_them():
    figure = plots.image_grid(
        [PIXELS[0], PIXELS[0] / np.float32(255), FLOATS, np.float32(PIXELS[0]), abs(FLOATS)], list("abcde")
    )
    assert [ax.get_title() for ax in figure.axes[:5]] == list("abcde")
    limits = [ax.images[0].get_clim() for ax in figure.axes[:5]]
    most = float(abs(FLOATS).max())
    assert limits == [(0, 255), (0, 1), (-most, most), (0, 255), (0, most)]
    assert all(not ax.axison for ax in figure.axes)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (([],), "pixels_or_list: no pictures"),
        ((PIXELS[:2], ["one"]), "titles: 1 for 2 pictures"),
        ((np.zeros((2, 4, 4, 3)),), "picture: shape"),
    ],
)
def test_grid_refuses(arguments, message):
    with pytest.raises(BadInput, match=message):
        plots.image_grid(*arguments)


def test_mean_images_and_their_difference():
    figure = plots.mean_images(PIXELS, KINDS)
    assert [ax.get_title().split("\n")[0] for ax in figure.axes[:4]] == ["normal", "bacteria", "virus", "difference"]
    difference = PIXELS[4:, :, :, 0].mean(axis=0) - PIXELS[:4, :, :, 0].mean(axis=0)
    np.testing.assert_allclose(figure.axes[3].images[0].get_array(), difference)


def test_maps_refuse_a_wrong_shape():
    with pytest.raises(BadInput, match="shape"):
        plots.feature_maps(np.zeros((8, 8)))


def test_kernel_values_are_written():
    figure = plots.kernel_steps(FLOATS, np.array([[1, 0, -1.5]] * 3), FLOATS)
    written = [text.get_text() for text in figure.axes[1].texts]
    assert [written.count(text) for text in ("1", "0", "-1.50")] == [3, 3, 3]


def test_curves_mark_the_epoch_of_the_lowest_validation_loss():
    figure = plots.learning_curves(HISTORY)
    assert [ax.get_title() for ax in figure.axes] == ["accuracy", "loss"]
    for ax in figure.axes:
        assert [line.get_label() for line in ax.lines] == ["training", "validation", "lowest validation loss"]
        assert list(ax.lines[2].get_xdata()) == [2, 2]
        assert ax.lines[0].get_linestyle() != ax.lines[1].get_linestyle()


def test_descent_numbers_its_points():
    ax = plots.descent([-1, 0, 1, 2], [4, 1, 0, 1], [-1, 1.2, 0.9, 0.91], [4, 0.2, 0, 0])
    assert [t.get_text() for t in ax.texts if t.get_text()] == ["0", "1", "2"]


def test_comparison_shows_each_seed_in_the_given_order():
    ax = plots.comparison(COMPARED)
    names = [label.get_text().replace("\n", " ") for label in ax.get_yticklabels()]
    assert names == ["plain", "augmentation and a rather long name"]
    assert ax.get_ylim() == (1.5, -0.5)
    assert sum(len(line.get_xdata()) for line in ax.lines if line.get_marker() == "o") == 4
    assert legend(ax)[-1] == "mean of plain"
    assert list(ax.lines[2].get_xdata()) == pytest.approx([0.85, 0.85])
    assert all(len(set(line.get_ydata())) == len(line.get_ydata()) for line in ax.lines if line.get_marker() == "o")
    with pytest.raises(BadInput, match="metric: 'auc'; choose one of balanced_accuracy"):
        plots.comparison(COMPARED, metric="auc")


def test_confusion_says_counts_and_shares():
    ax = plots.confusion(evaluation.confusion([0, 0, 0, 0, 1], [0.1, 0.2, 0.3, 0.9, 0.9]))
    assert [t.get_text() for t in ax.texts] == [
        "3\n75% of\nNORMAL", "1\n25% of\nNORMAL", "0\n0% of\nPNEUMONIA", "1\n100% of\nPNEUMONIA",
    ]  # fmt: skip
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("answer", "truth")
    assert [label.get_text() for label in ax.get_yticklabels()] == ["NORMAL", "PNEUMONIA"]


def test_curves_of_several_models_differ_in_line_style_and_name_chance():
    ax = plots.roc({"a": PREDICTIONS, "b": PREDICTIONS})
    auc = evaluation.metrics(LABELS, PREDICTIONS["probability"])["auc"]
    assert legend(ax) == [f"a: AUC {auc:.3f}", f"b: AUC {auc:.3f}", "chance: AUC 0.500"]
    assert ax.lines[0].get_linestyle() != ax.lines[1].get_linestyle()
    assert legend(plots.precision_recall(PREDICTIONS))[-1] == "chance = prevalence, 62.5%"


@pytest.mark.parametrize("function", [plots.roc, plots.precision_recall, plots.threshold_sweep])
def test_curves_need_both_classes(function):
    with pytest.raises(BadInput, match="expected both 0 and 1"):
        function(PREDICTIONS[PREDICTIONS["label"] == 1])


def test_threshold_sweep_marks_the_best():
    best = evaluation.best_threshold(LABELS, PREDICTIONS["probability"])
    assert legend(plots.threshold_sweep(PREDICTIONS))[-1] == f"best threshold {best:.2f}"


def test_score_histogram_holds_all_images():
    ax = plots.score_histogram(PREDICTIONS, 0.4)
    assert legend(ax) == ["NORMAL", "PNEUMONIA", "threshold 0.40"]
    assert [patch.get_data().values.sum() for patch in ax.patches[::2]] == [30, 50]


def test_intervals_have_readable_names():
    ax = plots.intervals({"a": INTERVALS, "b": INTERVALS}, metrics=["auc", "balanced_accuracy"])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["AUC", "balanced accuracy"]
    assert legend(ax) == ["a", "b"]
    assert len(plots.intervals(INTERVALS).get_yticks()) == len(evaluation.METRICS)


def test_predictive_values_marks_prevalences():
    table = evaluation.predictive_values(0.9, 0.8, np.linspace(0, 1, 11))
    assert "official test set\n62.5%" in texts(plots.predictive_values(table))
    assert "here\n10%" in texts(plots.predictive_values(table, marks={"here": 0.1}))


def test_a_decision_curve_has_a_panel_a_prevalence():
    table = evaluation.net_benefit(LABELS, PREDICTIONS["probability"], prevalence=[0.625, 0.1])
    axes = plots.decision_curve(table).axes
    assert [ax.get_title() for ax in axes] == ["prevalence 62.5%", "prevalence 10%"]
    assert legend(axes[0]) == ["model", "treat all", "treat none"]
    for ax, prevalence in zip(axes, (0.625, 0.1), strict=True):
        rows = table[table["prevalence"] == prevalence]
        np.testing.assert_allclose(ax.get_lines()[0].get_ydata(), rows["model"])


def test_a_forest_names_what_was_not_run_and_draws_what_was():
    ax = plots.claim_forest(CLAIMED)
    said = texts(ax)
    assert "not run yet" in said and "published: 0 of 3 seeds\nhonest: 1 of 3 seeds" in said
    assert not any("4,538" in text for text in said), "no share, so no row"
    points = {container.get_label(): container[0].get_xdata().tolist() for container in ax.containers}
    assert [points[name] for name in points] == [[0.98, 0.87, 1.0], [0.88], [0.87, 0.77]]
    hollow = [line.get_xdata().tolist() for line in ax.lines if line.get_markerfacecolor() == "white"]
    assert hollow == [[0.98], [], []], "the set of this claim is not stated"


def test_a_point_a_run_full_where_honest():
    ax = plots.validation_against_test(JUDGED)
    drawn = {(x, y): line.get_fillstyle() for line in ax.lines[1:] for x, y in zip(*line.get_data(), strict=True)}
    assert drawn == {(0.88, 0.88): "none", (0.95, 0.89): "full", (0.97, 0.7): "full"}
    assert legend(ax) == ["system 000", "ours", "honest protocol", "published protocol"]


@pytest.mark.parametrize(
    "ax",
    [
        lambda: plots.leak_bars(LEAKS),
        lambda: plots.shortcut_bars(SHORTCUTS),
        lambda: plots.score_histogram(PREDICTIONS),
    ],
)
def test_bars_of_one_row_differ_in_more_than_colour(ax):
    drawn = [patch.get_hatch() or "" for patch in ax().patches]
    assert len(set(drawn)) > 1, drawn


def test_each_system_has_a_colour_of_its_own():
    systems = [f"system {number:03d}" for number in range(5)] + ["ours", "tutorial"]
    runs = pd.DataFrame({"system": systems, "protocol": "honest", "validation": 0.9, "test": 0.8})
    assert len({line.get_color() for line in plots.validation_against_test(runs).lines[1:]}) == len(systems)


def test_a_mistake_has_a_dot_a_seed_and_its_interval():
    ax = plots.mistakes_worth(WORTH, PAIRS)
    dots = next(line for line in ax.lines if line.get_label() == "one seed")
    assert dots.get_xdata().tolist() == pytest.approx([10, 5])
    assert ax.collections[0].get_segments()[0][:, 0].tolist() == [-24, 39]
    assert " no patient is known" in texts(ax)
