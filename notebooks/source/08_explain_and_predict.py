# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: tags,-all
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown] tags=["core"]
# # 8. Explain and predict: one new image, and what the network looks at
#
# **Minutes**: counted when this is built
#
# After this notebook you can
#
# - load a trained network again, and ask it about one image;
# - draw where it looks, and say why most such pictures prove nothing;
# - test a heat map: against lesions, against fresh weights, against shortcuts;
# - say what is missing before anybody may rely on such a network.
#
# **Before you start**: [06 Evaluate](06_evaluate.ipynb), that is probability, threshold, AUC, interval.

# %% tags=["parameters", "core"]
# None: what course.toml beside this lesson says, or else the sample. Kernel: the Python of .venv.
source = None
path = None
data_dir = None
run_dir = None
profile = None
seed = None

# %% tags=["core"]
import numpy as np
import pandas as pd

from cxr_utils import augment, course, dataset, evaluation, explain, images, plots, recipes, sources, splits, training
from cxr_utils.course import exercises, lessons

source, path, data_dir, run_dir, profile, seed = lessons.chosen(source, path, data_dir, run_dir, profile, seed)
settings = course.profile(profile)
plots.style(source, data_dir)

# %% tags=["core"]
folder = sources.fetch(source, data_dir=data_dir, path=path)
index = dataset.scan(folder)
like_other_rooms = augment.Augmentation(rotation=8, width_shift=0.06, height_shift=0.06, zoom=0.1,
                                       brightness=0.15, contrast=0.2, gamma=0.2)
recipe = recipes.get("plain_224").but(augmentation=like_other_rooms).at(image_size=settings.image_size,
                                                                        width=settings.width)
pixels = images.cache(index, folder, size=recipe.image_size)
split = splits.grouped(index, seed=seed)

# %% [markdown] tags=["core"]
# ## Load a model again
#
# We take the augmented network of notebook 6. It is trained now if you have not done so there; otherwise its
# folder is opened. (On the sample all pictures are drawn phantoms, and marked synthetic.)

# %% tags=["core"]
run = training.fit(recipe, pixels, split, run_dir=f"{run_dir}/augmented-s{seed}", seed=seed,
                   epochs=settings.epochs, image_source=source)
predictions = evaluation.predict(run, pixels, split)
validation = predictions[predictions["split"] == "validation"]
test = predictions[predictions["split"] == "test"]
threshold = evaluation.best_threshold(validation["label"], validation["probability"])

# %% [markdown] tags=["core"]
# `models.load` opens the file. It refuses what could run somebody else's code: a model is a program.

# %% tags=["core"]
from cxr_utils import models

model = models.load(run.folder)
print(f"{model.path.name}: takes images of {model.image_size} x {model.image_size} pixels")

# %% [markdown] tags=["core"]
# ## One new image
#
# A file becomes an answer in four steps: read, resize, scale to [0, 1], ask. Each must be what it was in training.
#
# **Predict, then run**: the label of this image is PNEUMONIA. Will the probability be above the threshold?

# %% tags=["core"]
chosen = test[test["label"] == 1].iloc[len(test) // 4]
picture = images.read(folder / chosen["path"])
small = images.resize(picture, model.image_size)
probability = model.answer(small[None, :, :, None].astype("float32") / 255)[0]
print(f"probability {probability:.3f}, threshold {threshold:.3f}")

# %% tags=["core"]
verdict = ("similar to images labelled PNEUMONIA" if probability >= threshold
           else "not similar to images labelled PNEUMONIA")
plots.show(plots.image_grid([picture], titles=[f"label: {dataset.CLASSES[chosen['label']]}\n{verdict}"]),
           alt="One test image, with its label and what the network says of it")

# %% [markdown] tags=["core"]
# "Similar to images labelled PNEUMONIA" is all that a network can say. It has seen labels, not diseases, and it
# is no diagnosis.
#
# Is the probability high *for this network*? Put it among the images of validation.

# %% tags=["core"]
ax = plots.score_histogram(validation, threshold=threshold)
ax.axvline(probability, color="black", linestyle=":", linewidth=3)
plots.show(ax, alt="Probabilities of validation images by class, with the threshold and, dotted, the new image")

# %% [markdown] tags=["core"]
# Dotted is the new image. Far to the right, among the PNEUMONIA images, it is an ordinary ill one; between the heaps
# the network hardly knows.
#
# ### Exercise 8.1
#
# Which share of the validation images labelled PNEUMONIA has a lower probability than the new image?

# %% tags=["exercise", "core"]
below = ...  # replace the dots

# %% tags=["solution", "core"]
below = (validation.loc[validation["label"] == 1, "probability"] < probability).mean()

# %% tags=["check", "core"]
exercises.check("08.1", below, validation=validation, probability=probability)

# %% [markdown] tags=["core"]
# ## What does it look at?
#
# [Grad-CAM](glossary.md#grad-cam) asks each [feature map](glossary.md#feature-map) of the last convolution two
# things: where are you strong, and would the answer rise if you were stronger? The second is a
# [gradient](glossary.md#gradient). The product of both, over all maps, is a [heat map](glossary.md#heat-map).
#
# The published networks flatten: each place has weights of its own. Plain Grad-CAM takes the mean of the gradient
# over all places and loses them; [HiResCAM](glossary.md#hirescam) keeps them.
#
# **Predict, then run**: where will it be hot on a child with a patch in one lung?

# %% tags=["core"]
network = run.load_model()
right = test[(test["label"] == 1) & (test["probability"] >= threshold)].iloc[::8].head(4)
missed = test[(test["label"] == 1) & (test["probability"] < threshold)].head(2)
alarms = test[(test["label"] == 0) & (test["probability"] >= threshold)].head(2)
shown = pd.concat([right, missed, alarms])
pictures = [images.resize(images.read(folder / path), 224) for path in shown["path"]]

# %% tags=["core"]
rows = index.set_index("path").index.get_indexer(shown["path"])
heats = explain.heat_maps(network, pixels[rows].astype("float32") / 255)
titles = [f"{row.kind}: {row.probability:.2f}" for row in shown.itertuples()]
plots.show(plots.heat_maps(pictures, heats, titles),
           alt="Heat maps over test images: answered right, missed, and false alarms")

# %% [markdown] tags=["core"]
# Each title is the truth and the probability of PNEUMONIA; first those answered right, then the missed, then the
# false alarms. Light orange speaks most for PNEUMONIA, places without colour don't. The scale is each picture's
# own: a map of a sure answer and of a doubtful one look equally hot.
#
# Don't trust it yet. Some heat is on the patch; some is on shoulders and edges, where no lung is.

# %% [markdown] tags=["core"]
# ## What went wrong in published work
#
# A paper shows three heat maps, hot where the lesion is, and calls that a proof. Three questions are left:
#
# 1. Who chose the pictures?
# 2. Would a map that never saw the picture have done as well?
# 3. Would a network that never learned anything have drawn the same?
#
# On real films [Saporta and others, 2022](https://doi.org/10.1038/s42256-022-00536-x) compared seven such methods
# with the outlines of radiologists. Grad-CAM was the best of them, and clearly worse than a second
# radiologist, most of all for small lesions and those of a complicated shape.

# %% [markdown] tags=["further"]
# ## Is the heat on the lesion?
#
# Of phantoms we know where the lesion is. We take all focal ones (`bacteria`) of test, so nobody chooses. (On real
# images nobody marked the lesions; there the central chest takes their place.)

# %% tags=["further"]
from cxr_utils import shortcuts

focal = np.flatnonzero((split["part"] == "test") & (split["label"] == 1) & (split["kind"] != "virus"))
patients, paths = split["patient"].iloc[focal], split["path"].iloc[focal]
inputs = pixels[focal].astype("float32") / 255
size = recipe.image_size
chest = np.repeat(shortcuts.region("centre", size)[None], len(focal), axis=0)
masks = explain.lesion_masks(folder, paths, size=size) if source == "sample" else chest

# %% [markdown] tags=["further"]
# Two figures: the share of the heat inside, and the [pointing game](glossary.md#pointing-game), that is how often
# the hottest pixel lies inside. And rivals that know nothing: noise, a bump in the middle, the map of *another*
# child, and a network with fresh weights.
#
# **Predict, then run**: which rival is the hardest?

# %% tags=["further"]
maps = {how: explain.heat_maps(network, inputs, how=how) for how in ("hirescam", "gradcam")}
maps["of another child"] = explain.of_another(maps["hirescam"], patients, seed=seed)
maps["bump in the middle"] = explain.blind_maps("centre", len(focal), size=size)
maps["noise"] = explain.blind_maps("random", len(focal), size=size, seed=seed)
maps["fresh weights"] = explain.heat_maps(explain.randomised(network, seed=seed), inputs)
board = explain.scoreboard(maps, masks, patients, seed=seed)

# %% tags=["further"]
scores = {"share of heat inside": board["share"], "pointing game": board["pointing"]}
plots.show(plots.intervals(scores),
           alt="Share of heat inside the lesion and pointing game, for each kind of map, with 95% intervals")

# %% tags=["further"]
board["share"].loc["gradcam":, ["less", "less_low", "less_high"]].round(3)

# %% [markdown] tags=["further"]
# `less` is by how much a map falls behind HiResCAM, image by image, with its interval over patients. An interval
# above 0 is a map beaten.
#
# On the sample HiResCAM beats all rivals, the map of another child by the smallest step: much of what it knows is
# where lesions *mostly* are. And beating them is not much: most of the heat lies outside. Plain Grad-CAM does no
# better than the bump in the middle. Its mean over places tells light tissue from dark, not lesion from lung. Where
# the mean over places follows the convolution at once, both are the same.
#
# ### Exercise 8.2
#
# Compute the share of the heat inside for the first map, `heat`, and its lesion, `lesion`.

# %% tags=["further"]
heat, lesion = maps["hirescam"][0], masks[0]

# %% tags=["exercise", "further"]
inside = ...  # replace the dots

# %% tags=["solution", "further"]
inside = heat[lesion].sum() / heat.sum()

# %% tags=["check", "further"]
exercises.check("08.2", inside, heat=heat, lesion=lesion)

# %% [markdown] tags=["further"]
# ## Does it depend on what was learned?
#
# [Adebayo and others, 2018](https://arxiv.org/abs/1810.03292) gave a network fresh weights, layer after layer from
# the output on. A map that stays the same shows the picture, not the network: it explains nothing.
#
# **Predict, then run**: how alike will the maps be when only the last layer is fresh?

# %% tags=["further"]
forgotten = {how: explain.cascade(network, inputs[:40], how=how) for how in ("hirescam", "gradcam")}
ax = plots.intervals(forgotten)
ax.set_xlabel("rank correlation with the maps of the trained network (bar: range of three seeds)")
plots.show(ax, alt="How alike maps stay to those of the trained network while its layers get fresh weights")

# %% [markdown] tags=["further"]
# Read it from top to bottom: a layer more is fresh in each row. A rank correlation of 1 is the same order of heat,
# 0 no relation. On the sample HiResCAM forgets as soon as the dense layers do, as it must. Plain Grad-CAM stays
# above .5 with three of five layers fresh: it draws the picture's light and dark. (One fresh layer alone can turn a
# map over or leave it: long bars.)

# %% [markdown] tags=["further"]
# ## What still predicts?
#
# Heat maps ask the network. A harder test changes the picture: put a side marker elsewhere, cover the border, cover
# the lungs. What is covered gets the same grey in all images, so its exposure does not show.
#
# **Predict, then run**: the central chest is covered. Which AUC is left?

# %% tags=["further"]
part = np.flatnonzero(split["part"] == "test")
label = split["label"].iloc[part].to_numpy()
changes = shortcuts.changes(label, grey=round(float(pixels[part].mean())), seed=seed)
views = [images.resize(change(pixels[part])[0, :, :, 0], 224) for change in changes.values()]
plots.show(plots.image_grid(views, titles=list(changes), columns=5), alt="One test image under each change")

# %% tags=["further"]
tests = shortcuts.measure(network, pixels[part], split.iloc[part], threshold=threshold, seed=seed)
plots.show(plots.intervals({"AUC": tests}), alt="AUC on test under each change, with 95% intervals")

# %% tags=["further"]
tests[["value", "shift", "moved", "flipped"]].rename(columns={"value": "AUC"}).round(3)

# %% [markdown] tags=["further"]
# `shift` is the mean change of the probability, `moved` the mean of its size, `flipped` the share of answers that
# change. A marker should do nothing. From the outermost tenth alone AUC should be .5, for hardly any lung is left in
# it; what is above was read from exposure, shoulders, the edges of the beam. That is a
# [shortcut](glossary.md#shortcut). (A covered picture is also unlike all training images, so a fall alone proves
# little. In the last change nothing is grey: the surroundings come from a child of the other class.)
#
# ### Exercise 8.3
#
# After which of the changes in `suspects` does the network still reach an AUC above .7, by the lower end of the
# interval? Make a list of their names.

# %% tags=["further"]
suspects = ["central chest covered", "all but border covered", "surroundings of the other class"]

# %% tags=["exercise", "further"]
still = ...  # replace the dots

# %% tags=["solution", "further"]
still = [name for name in suspects if tests.loc[name, "low"] > 0.7]

# %% tags=["check", "further"]
exercises.check("08.3", still, tests=tests, suspects=suspects)

# %% [markdown] tags=["further"]
# They say different things. A high AUC *without the chest* is bad: the surroundings betray the class. A high AUC *with
# the wrong surroundings* is good: the chest outweighs them.

# %% tags=["further"]
shares = explain.means(shortcuts.heat_shares(maps["hirescam"]), patients)["value"]
course.beside_real("08_explain_and_predict", {
    "heat in the central chest": shares["centre"],
    "heat in the border": shares["border"],
    **{f"AUC, {name}": tests.loc[name, "value"] for name in tests.index},
}, run_dir=run_dir, source=source)

# %% [markdown] tags=["further"]
# ## The network that is shipped
#
# In `results/models` lies a trained network: `reference` of notebook 5, seed 0, trained on the real images. It works
# without training anything. It averages its answers to five views of an image.
#
# **Predict, then run**: it has seen children, never phantoms. What will it say of ours? And will the check that comes
# with it call them outside of what it knows?

# %% tags=["further"]
from cxr_utils import predict

shipped = predict.load(heat=True)
answers = pd.DataFrame(predict.predict(shipped, [folder / path for path in shown["path"]]))
answers[["probability", "verdict", "outside"]].assign(truth=shown["kind"].to_numpy())

# %% [markdown] tags=["further"]
# On the sample there is hardly a warning, and to this network most phantoms look like PNEUMONIA, the normal ones
# too. The check finds photographs, blanks, films upside down. It does not find drawings that resemble a
# chest, nor another hospital or age. **No warning is no proof that a network knows such images.**
#
# How it stood the tests of this notebook, on the 624 real test images:

# %% tags=["further"]
from cxr_utils import files

kept = files.read_json(course.results() / "reference.json")["tests"]
asked = pd.DataFrame(kept["shortcuts"]).T
asked[["value", "low", "high", "flipped"]].rename(columns={"value": "AUC"})

# %% tags=["further"]
heat_inside = pd.DataFrame({name: kept["heat"]["gradcam"][name] for name in kept["even"]}).T
heat_inside.assign(even=pd.Series(kept["even"]))

# %% [markdown] tags=["further"]
# `even` is what heat spread over the whole picture would have. (It is plain Grad-CAM, which here differs little from
# HiResCAM.) The maps look fine: most heat is in the chest. The first
# table knows better. With the chest covered, or from the border alone, the network still tells much; that is no
# knowledge of lungs, and no heat map showed it. With the surroundings of the other class it ranks much worse than
# on the images as they are. A good figure on test, and shortcuts in it: both are true.

# %% [markdown] tags=["further"]
# ## Save and load
#
# A run's folder holds `model.keras`: layers and weights, in float32. A model that leaves the house needs more: its
# threshold, how images are resized, what it has never seen, and a [model card](glossary.md#model-card) that says what
# it is for and what not. `export` writes all that.
#
# **Predict, then run**: saved in two formats, loaded, asked again. How far may the probabilities differ?

# %% tags=["further"]
from cxr_utils.predict import export

saved = {to: export.export(run.folder, to=to, data_dir=data_dir) for to in ("keras", "h5")}
known = predictions.set_index("path").loc[paths, "probability"].to_numpy()
{to: f"{np.abs(models.load(path).answer(inputs) - known).max():.0e}" for to, path in saved.items()}

# %% tags=["further"]
print((saved["keras"].parent / "model-card.md").read_text(encoding="utf-8")[:900], "…")

# %% [markdown] tags=["further"]
# ## Answers for others
#
# The same from the command line: `cxr predict MODEL IMAGE` takes such a file and pictures (JPEG, PNG or DICOM), and
# answers with probability, threshold and rank among the validation images. A picture that does not look like a chest
# film of a child is said to be outside of what the model knows. `cxr export RUN --to onnx` writes a third format,
# which starts faster. `--explain FOLDER` draws the heat maps, too (from `.keras` and `.h5`: ONNX has no gradients).

# %% [markdown] tags=["further"]
# ## The page
#
# Others want to see, not to type. In a terminal, with the folder that `export` filled above:
#
# ```sh
# cxr app --model runs/sample/augmented-s0/exported
# ```
#
# It opens a page at http://127.0.0.1:7860, in [Gradio](https://www.gradio.app). Drop images, or take a phantom; see the
# probability with the threshold on it, the heat map with a slider for its strength, and the model card. Ctrl-C ends it.
#
# What makes such a page fit to be shown? Look for each in `cxr_utils/predict/app.py`, and for limits and deletion in `guard.py` and `uploads.py`:
#
# - It says what it is not, above every answer, and calls a picture outside of what the model knows when it is.
# - Images of patients stay where they are: the page is open to this computer alone, an image is deleted when it is
#   answered, and nothing is fetched from or told to another machine.
# - It has limits: bytes, pixels (before a picture is decoded), files at once, people who wait.
#
# **Try it**: drop a photograph. Then a phantom that stands on its head.

# %% [markdown] tags=["further"]
# ## What would be needed before anybody relies on it
#
# - **Other data**: other hospitals, machines, ages; children who turned out to have something else. All images here
#   come from one hospital, and labels from readers, not from a later diagnosis.
# - **A clinical study**: does care get better when a physician sees the answer? A high AUC does not say so.
# - **A rule for what it does not know**: adults, lateral views, photographs.
# - **Regulation**: software that helps to diagnose is a medical device (in the EU by Regulation 2017/745, in the US
#   by the FDA). It needs a maker who answers for it.
# - **Watching**: machines and patients change, so its errors must be counted for as long as it is used.
#
# Such a tool assists. It does not replace medical judgement, and this one is a lesson, not a medical device.

# %% [markdown] tags=["core"]
# ## What to remember
#
# - A probability means something beside a threshold and beside other images; it is no diagnosis.
# - A heat map is a claim. Let it compete with maps that know nothing, on pictures that nobody chose.
# - A map that survives fresh weights explains nothing.
# - Change the picture: what predicts without the lungs is a shortcut.
#
# You have gone the whole way. To see a published figure tested in the same spirit, go back to
# [07 Replicate](07_replicate.ipynb); all words are in the [glossary](glossary.md).
