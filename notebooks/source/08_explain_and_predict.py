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
# **You will be able to** load a trained network again, and ask it about one image; draw where it looks, and test such a
# picture against lesions and against fresh weights; cover a part of all images, and see what the network still knows; say
# what is missing before anybody may rely on such a network.
#
# **Before you start**: probability, threshold, AUC and interval, of [6. Evaluate](06_evaluate.ipynb).
#
# **Minutes**: counted when this is built

# %% tags=["parameters", "core"]
# Nothing to do here. None means: what course.toml beside this lesson says, or else the drawn sample.
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
pd.options.display.max_colwidth = None  # show long cells whole

# %% tags=["core"]
folder = sources.fetch(source, data_dir=data_dir, path=path, progress=True)
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
# We take the augmented network of lesson 6. It is trained now if you have not done so there; otherwise its folder is
# opened. (On the sample all pictures are drawn phantoms, and marked synthetic.) Test was opened in lesson 6. Nothing is
# chosen here by it: it only describes.

# %% tags=["core"]
run = training.fit(recipe, pixels, split, run_dir=f"{run_dir}/augmented-s{seed}", seed=seed,
                   epochs=settings.epochs, image_source=source, beside=True, progress=True)
predictions = evaluation.predict(run, pixels, split)
validation, test = (predictions[predictions["split"] == part] for part in ("validation", "test"))
threshold = evaluation.best_threshold(validation["label"], validation["probability"])

# %% [markdown] tags=["core"]
# A model file can contain a program. `models.load` refuses files that could run one.

# %% tags=["core"]
from cxr_utils import models

model = models.load(run.folder)
print(f"{model.path.name}: takes images of {model.image_size} x {model.image_size} pixels")

# %% [markdown] tags=["core"]
# ## One new image
#
# A file becomes an answer in four steps: read, resize, scale to [0, 1], ask. Each must be what it was in training.

# %% tags=["core"]
new = test[test["label"] == 1].iloc[len(test) // 4]
picture = images.read(folder / new["path"])
small = images.resize(picture, model.image_size)
probability = model.answer(small[None, :, :, None].astype("float32") / 255)[0]
print(f"label {dataset.CLASSES[new['label']]}, probability {probability:.3f}, threshold {threshold:.3f}")

# %% [markdown] tags=["core"]
# At or above the threshold we say: "similar to images labelled PNEUMONIA". That is all that a network can say. It has seen
# labels, not diseases, and it is no diagnosis.
#
# Is the probability high *for this network*? Put it among the images of validation.

# %% tags=["core"]
ax = plots.score_histogram(validation, threshold=threshold)
ax.axvline(probability, color="black", linestyle=":", linewidth=3)
plots.show(ax, alt="Probabilities of validation images by class, with the threshold and, dotted, the new image")

# %% [markdown] tags=["core"]
# **How to read it**: the dotted line is the new image. Far to the right, among the PNEUMONIA images, it is an ordinary ill
# one; between the two groups of bars the network hardly knows.

# %% [markdown] tags=["further"]
# ### Exercise 8.1
#
# Which share of the validation images labelled PNEUMONIA has a lower probability than the new image? (`.loc[mask, column]`
# takes the rows where the mask is true.)

# %% tags=["exercise", "further"]
below = ...  # replace the dots

# %% tags=["solution", "further"]
below = (validation.loc[validation["label"] == 1, "probability"] < probability).mean()

# %% tags=["check", "further"]
exercises.check("08.1", below, validation=validation, probability=probability)

# %% [markdown] tags=["core"]
# ## What does it look at?
#
# [Grad-CAM](glossary.md#grad-cam) asks each [feature map](glossary.md#feature-map) of the last convolution two
# things: where are you strong, and would the answer rise if you were stronger? The second is a
# [gradient](glossary.md#gradient). Multiply the two at each place, and add up over all maps: that is a
# [heat map](glossary.md#heat-map). We take [HiResCAM](glossary.md#hirescam), a kind of Grad-CAM that keeps the gradient of
# each place.
#
# Of phantoms we know where the lesion is. We take *all* images of test with one patch, so nobody chooses. (On real images
# nobody marked the lesions; there the central chest takes their place.)
#
# **Predict, then run**: which share of the heat lies inside the outline, on average?

# %% tags=["guess", "core"]
inside_guess = None  # your guess: a share from 0 to 1

# %% tags=["core"]
from cxr_utils import shortcuts

network, size = run.load_model(), recipe.image_size
focal = np.flatnonzero((split["part"] == "test") & (split["label"] == 1) & (split["kind"] != "virus"))
patients, paths = split["patient"].iloc[focal], split["path"].iloc[focal]
chest = np.repeat(shortcuts.region("centre", size)[None], len(focal), axis=0)
masks = explain.lesion_masks(folder, paths, size=size) if source == "sample" else chest

# %% tags=["answer", "core"]
inputs = pixels[focal].astype("float32") / 255
heats = explain.heat_maps(network, inputs)
shares = explain.score(heats, masks)["share"]
lessons.compare("Share of the heat inside", inside_guess, shares.mean())
pick = np.flatnonzero(~patients.duplicated().to_numpy())[:4]  # the first four children
pictures = [images.resize(images.read(folder / path), 224) for path in paths.iloc[pick]]
titles = [f"{share:.0%} of the heat inside" for share in shares.iloc[pick]]
plots.show(plots.heat_maps(pictures, heats[pick], titles, masks=masks[pick], columns=2, height=4),
           alt="Heat maps over test images of four children, with the outline of each lesion")

# %% [markdown] tags=["core"]
# **How to read it**: light orange speaks most for PNEUMONIA, places without colour don't. The dashed line is the lesion's
# outline. The scale is each picture's own, so a map of a doubtful answer looks as hot as that of a sure one. Is most of
# the heat on the patch, or on shoulders and edges, where no lung is?

# %% tags=["core"]
mean_share, evenly = shares.mean(), masks.mean()
print(f"Of the heat {mean_share:.0%} lies inside, mean of {len(shares)} images: {mean_share / evenly:.1f} times as much as "
      f"if it were spread evenly. Outside lies {1 - mean_share:.0%}; spread evenly it would be {1 - evenly:.0%}.")

# %% [markdown] tags=["core"]
# ### Exercise 8.2
#
# Compute the share of the heat inside for the first map, `heat`, and its lesion, `lesion`. Does it agree with
# the first title above?

# %% tags=["core"]
heat, lesion = heats[0], masks[0]

# %% tags=["exercise", "core"]
inside = ...  # replace the dots

# %% tags=["solution", "core"]
inside = heat[lesion].sum() / heat.sum()

# %% tags=["check", "core"]
exercises.check("08.2", inside, heat=heat, lesion=lesion)

# %% [markdown] tags=["core"]
# ## What went wrong in published work
#
# It is common to show a few heat maps, hot where the lesion is, and to call that a proof. Three questions are left:
#
# 1. Who chose the pictures?
# 2. Would a map that never saw the picture have done as well?
# 3. Would a network that never learned anything have drawn the same?
#
# On real films [Saporta and others, 2022](https://doi.org/10.1038/s42256-022-00536-x) compared seven such methods
# with the outlines of radiologists. Grad-CAM was the best of them, and clearly worse than a second radiologist.
#
# ## Does the map depend on what was learned?
#
# [Adebayo and others, 2018](https://arxiv.org/abs/1810.03292) gave a network fresh weights, as before any training. A map
# that stays the same shows the picture, not the network: it explains nothing.
#
# **Predict, then run**: how alike are the maps of the trained and of the fresh network? (1: the same order of heat, 0: no
# relation, -1: the opposite order.)

# %% tags=["guess", "core"]
alike_guess = None  # your guess: a number from -1 to 1

# %% tags=["answer", "core"]
fresh_heats = explain.heat_maps(explain.randomised(network, seed=seed), inputs)
alike = explain.similarity(heats, fresh_heats).mean()
lessons.compare("How alike", alike_guess, alike, within=0.2)
twice = np.repeat(pick[:2], 2)
pairs = [(fresh_heats if number % 2 else heats)[row] for number, row in enumerate(twice)]
plots.show(plots.heat_maps([pictures[i] for i in (0, 0, 1, 1)], pairs, ["trained", "fresh weights"] * 2,
                           masks=masks[twice], columns=2, height=4),
           alt="Heat maps of two images: left by the trained network, right by one with fresh weights")

# %% [markdown] tags=["core"]
# **How to read it**: left and right differ only in what the network learned. The nearer the number below is to 0, the more
# of the map comes from learning.

# %% tags=["core"]
round(float(alike), 2)

# %% [markdown] tags=["core"]
# ## What still predicts?
#
# Heat maps ask the network. A harder test changes the picture: cover all but the outermost tenth of each side, with the same
# grey in all test images. Hardly any lung is left.
#
# **Predict, then run**: which AUC is left?

# %% tags=["guess", "core"]
left_guess = None  # your guess: from 0.5 (chance) to 1

# %% tags=["answer", "core"]
part = np.flatnonzero(split["part"] == "test")
label, grey = split["label"].iloc[part].to_numpy(), round(float(pixels[part].mean()))
views = {"as it is": pixels[part], "all but border covered": shortcuts.covered(pixels[part], "inner", grey=grey)}
left = {name: evaluation.metrics(label, models.answers(network, view))["auc"] for name, view in views.items()}
lessons.compare("AUC from the border", left_guess, left["all but border covered"])
plots.show(plots.image_grid([images.resize(view[0, :, :, 0], 224) for view in views.values()],
                            [f"{name}: AUC {auc:.2f}" for name, auc in left.items()], columns=2, height=4),
           alt="One test image as it is, and with all but its border covered")

# %% [markdown] tags=["core"]
# **How to read it**: the titles say what the network still tells apart on *all* test images. What the covered images
# give above .5 was read from exposure, shoulders, the edges of the beam, and perhaps a little from the rim of lung. That is a
# [shortcut](glossary.md#shortcut). (A covered picture is also unlike all training images, so a fall alone proves little.)
#
# And on the real images? These are figures of the network that comes with the course, on the 624 of test:

# %% tags=["core"]
real = course.kept("course/08_explain_and_predict.json")["facts"]
shown = ["heat in the central chest", "AUC, as it is", "AUC, central chest covered", "AUC, all but border covered"]
pd.Series(real)[shown].round(3).to_frame("on the real images")

# %% [markdown] tags=["core"]
# Its heat looks fine: most of it lies in the chest. (Spread evenly, half would.) Yet with the chest covered, or from the
# border alone, it still tells much, and no heat map showed that.

# %% [markdown] tags=["further"]
# ## Rivals that know nothing
#
# Two figures: the share of the heat inside, and the [pointing game](glossary.md#pointing-game), that is how often
# the hottest pixel lies inside. And rivals: noise, a bump in the middle, the map of *another* child, and a network with
# fresh weights. Plain Grad-CAM takes the mean of the gradient over all places, and loses them. Which rival is the hardest?

# %% tags=["further"]
maps = {"hirescam": heats, "gradcam": explain.heat_maps(network, inputs, how="gradcam")}
maps["of another child"] = explain.of_another(heats, patients, seed=seed)
maps["bump in the middle"] = explain.blind_maps("centre", len(focal), size=size)
maps["noise"] = explain.blind_maps("random", len(focal), size=size, seed=seed)
maps["fresh weights"] = fresh_heats
board = explain.scoreboard(maps, masks, patients, seed=seed)

# %% tags=["further"]
scores = {"share of heat inside": board["share"], "pointing game": board["pointing"]}
plots.show(plots.intervals(scores),
           alt="Share of heat inside the lesion and pointing game, for each kind of map, with 95% intervals")

# %% [markdown] tags=["further"]
# **How to read it**: a row is a kind of map; further right is better. Bars that overlap settle nothing, so the table takes
# the difference image by image: `less` is by how much a map falls behind HiResCAM. An interval above 0 is a map beaten.

# %% tags=["further"]
board["share"].loc["gradcam":, ["less", "less_low", "less_high"]].round(3)

# %% [markdown] tags=["further"]
# A map of another child knows where lesions *mostly* are. And beating it is not much: most of the heat lies outside.

# %% [markdown] tags=["further"]
# ## Layer after layer
#
# Now the weights get fresh from the output on, a layer more in each row.

# %% tags=["further"]
forgotten = {how: explain.cascade(network, inputs[:16], how=how) for how in ("hirescam", "gradcam")}
ax = plots.intervals(forgotten)
ax.set_xlabel("rank correlation with the maps of the trained network\n(bar: range of three seeds)")
plots.show(ax, alt="How alike maps stay to those of the trained network while its layers get fresh weights")

# %% [markdown] tags=["further"]
# **How to read it**: from top to bottom one layer more is fresh. 1 is the same order of heat, 0 no relation. A map that
# stays high draws the picture's light and dark. (One fresh layer alone can turn a map over or leave it: long bars.)
#
# ## All changes
#
# Put a side marker elsewhere, cover the border, cover the lungs, or take the surroundings of a child of the other class.

# %% tags=["further"]
tests = shortcuts.measure(network, pixels[part], split.iloc[part], threshold=threshold, seed=seed)
plots.show(plots.intervals({"AUC": tests}), alt="AUC on test under each change, with 95% intervals")

# %% [markdown] tags=["further"]
# **How to read it**: a marker should do nothing. From the outermost tenth alone AUC should be .5, for hardly any lung is
# left in it. In the table `shift` is the mean change of the probability, `moved` the mean of its size, `flipped` the share
# of answers that change.

# %% tags=["further"]
tests[["value", "shift", "moved", "flipped"]].rename(columns={"value": "AUC"}).round(3)

# %% [markdown] tags=["further"]
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
#
# ## Beside the real images
#
# The real column is the shipped network's (see below), on the 624 real test images.

# %% tags=["further"]
where = explain.means(shortcuts.heat_shares(heats), patients)["value"]
facts = {f"heat in the {'central chest' if name == 'centre' else name}": where[name] for name in ("centre", "border")}
facts |= {f"AUC, {name}": tests.loc[name, "value"] for name in tests.index}
course.beside_real("08_explain_and_predict", facts, run_dir=run_dir, source=source)

# %% [markdown] tags=["further"]
# Look at the real column. The maps look fine: most heat is in the chest. (Heat spread evenly would have .50 there.) The
# other rows know better. With the chest covered, or from the border alone, the network still tells much, and no heat map
# showed it. With the surroundings of the other class it ranks much worse than on the images as they are. A good figure on
# test, and shortcuts in it: both are true.
#
# ## The network that is shipped
#
# In `results/models` lies a trained network: `reference` of lesson 5, seed 0, trained on the real images. It has seen
# children, never phantoms. What will it say of ours? Will the check that comes with it call them outside of what it knows?

# %% tags=["further"]
from cxr_utils import predict

shipped = predict.load(heat=True)
asked = test.groupby("kind").head(2)
answers = pd.DataFrame(predict.predict(shipped, [folder / path for path in asked["path"]]))
answers[["probability", "verdict", "outside"]].assign(truth=asked["kind"].to_numpy())

# %% [markdown] tags=["further"]
# The check finds photographs, blanks, films upside down. It does not find drawings that resemble a chest, nor another
# hospital or age. **No warning is no proof that a network knows such images.**
#
# ## Use what another network has learned
#
# [Transfer learning](glossary.md#transfer-learning) keeps the layers of a network, frozen, and trains only a new last layer.
# What comes out of the kept layers are *features*, here 128 numbers an image. We give it few images, 20 of each class. Do
# features of real films help with phantoms? Two rivals: the same layers with fresh weights, and our small network trained
# from scratch on the same few images.

# %% tags=["further"]
import keras
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

training_part = split[split["part"] == "train"]
few = training_part.groupby("label").sample(20, random_state=seed).index
bodies = {"learned on real films, frozen": shipped.model.network}
bodies["fresh weights, frozen"] = explain.randomised(shipped.model.network, seed=seed)

# %% tags=["further"]
larger = images.cache(index, folder, size=shipped.model.image_size).astype("float32") / 255
graded = split["part"].isin(["validation", "test"]).to_numpy()
given = {}
for name, body in bodies.items():
    features = keras.Model(body.inputs, body.layers[-2].output).predict(larger, verbose=0)
    last = make_pipeline(StandardScaler(), LogisticRegression(C=0.1)).fit(features[few], split["label"].iloc[few])
    given[name] = last.predict_proba(features[graded])[:, 1]

# %% tags=["further"]
scarce = split.assign(part=split["part"].where(split["part"] != "train", "unused"))
scarce.loc[few, "part"] = "train"
small_run = training.fit(recipe.but(augmentation=None, batch_size=8), pixels, scarce, run_dir=f"{run_dir}/few-s{seed}",
                         seed=seed, epochs=settings.epochs, image_source=source, beside=True)
given["from scratch"] = models.answers(small_run.load_model(), pixels, np.flatnonzero(graded))

# %% tags=["further"]
truth = split.loc[graded, ["part", "label"]]
transfer = pd.DataFrame({
    name: {part: evaluation.metrics(truth.loc[rows.index, "label"], rows)["auc"]
           for part, rows in pd.Series(scores, index=truth.index).groupby(truth["part"])}
    for name, scores in given.items()}).T
transfer[["validation", "test"]].round(3)

# %% [markdown] tags=["further"]
# Compare the first row with the second: only what was learned differs. On the sample, fresh layers rank better in
# validation, and on test neither is clearly ahead (tried with four seeds). So what was learned on films does not help with
# drawings, and layers that never learned tell them apart. On real films it is another matter. These are published figures
# of others, on the same official test set:

# %% tags=["further"]
published = pd.read_csv(course.results() / "published.csv").set_index("network")
published.loc[published.index.str.contains("ResNet-18|linear probe"), ["accuracy", "auc"]]

# %% [markdown] tags=["further"]
# There the networks that began with what they had learned on millions of other pictures are ahead. What was learned helps
# where the new images resemble the old ones, and a rival with fresh weights tells whether it did.
#
# ## Save and load
#
# A run's folder holds `model.keras`: layers and weights, in float32. A model that leaves the house needs more: its
# threshold, how images are resized, what it has never seen, and a [model card](glossary.md#model-card) that says what
# it is for and what not. `predict.save` writes all that. Saved in two formats, loaded, asked again: how far may the
# probabilities differ?

# %% tags=["further"]
saved = {to: predict.save(run.folder, to=to, data_dir=data_dir) for to in ("keras", "h5")}
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
# Others want to see, not to type. In a terminal, with the folder that `predict.save` filled above:
#
# ```sh
# cxr app --model runs/sample/augmented-s0/exported
# ```
#
# It opens a page at http://127.0.0.1:7860, in [Gradio](https://www.gradio.app). Drop images, or take a phantom; see the
# probability with the threshold on it, the heat map with a slider for its strength, and the model card. Ctrl-C ends it.
#
# What makes such a page fit to be shown? Look for each in `cxr_utils/predict/app.py`, and for limits and deletion in
# `guard.py` and `uploads.py`:
#
# - It says what it is not, above every answer, and calls a picture outside of what the model knows when it is.
# - Images of patients stay where they are: the page is open to this computer alone, an image is deleted when it is
#   answered, and nothing is fetched from or told to another machine.
# - It has limits: bytes, pixels (before a picture is decoded), files at once, people who wait.
#
# **Try it**: drop a photograph. Then a phantom that stands on its head.

# %% [markdown] tags=["core"]
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

# %% tags=["core"]
lessons.score()

# %% [markdown] tags=["core"]
# ## What to remember
#
# - A probability means something beside a threshold and beside other images; it is no diagnosis.
# - A heat map is a claim. Test it on pictures that nobody chose.
# - A map that survives fresh weights explains nothing.
# - Change the picture: what still predicts where hardly any lung is left is a shortcut.
# - A good figure on test and a fine heat map are not enough: it takes other hospitals, and a study of what it does to care.
#
# Next: [9. Elsewhere](09_elsewhere.ipynb), where a network goes to another hospital.

# %% [markdown] tags=["further"]
# ## Five questions
#
# For whoever wants to know what stayed. Write your letters in place of the dots, in quotes and with commas, such as
# `"a", "c", ..., "b", "a"`, and run the cell again: it says why.

# %% tags=["further", "nbval-check-output"]
lessons.quiz("08", ...)
