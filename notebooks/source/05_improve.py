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
# # 5. Improve the network, and know whether you did
#
# **Minutes**: counted when this is built
#
# After this notebook you can
#
# - measure what imbalance does to the rarer class;
# - treat it by class weights, over-sampling and SMOTE, and see what SMOTE makes;
# - add augmentation and dropout, and change the learning rate;
# - tell an improvement from luck, by the spread over seeds and by an interval.
#
# **Before you start**: [04 Train](04_train.ipynb), that is loss, epoch, validation and overfitting.

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

from cxr_utils import augment, course, dataset, evaluation, images, imbalance, plots, recipes, sources, splits, training
from cxr_utils.course import exercises, lessons
from cxr_utils.replication import claims

source, path, data_dir, run_dir, profile, seed = lessons.chosen(source, path, data_dir, run_dir, profile, seed)
settings = course.profile(profile)
plots.style(source, data_dir)

# %% [markdown] tags=["core"]
# We pick up the thread: index, image cache, split by patient, and the plain network of notebook 4. (On the sample all
# pictures are drawn phantoms, and marked synthetic.)

# %% tags=["core"]
plain = recipes.get("plain_224").but(augmentation=None).at(image_size=settings.image_size, width=settings.width)
folder = sources.fetch(source, data_dir=data_dir, path=path)
index = dataset.scan(folder)
pixels = images.cache(index, folder, size=plain.image_size)
split = splits.grouped(index, seed=seed)

# %% [markdown] tags=["core"]
# ## Feel the imbalance
#
# Three of four training images show pneumonia: the classes are [imbalanced](glossary.md#class-imbalance).
# The loss is a mean over *images*, so the larger class does most of the talking.
#
# To feel it, we make it worse. Of the NORMAL patients only a few stay in training: one image for fourteen with pneumonia.
# The others validate. (More NORMAL images in validation also make its figures steadier.)

# %% tags=["core"]
rare = splits.rarer(split, label=0, one_for=14, seed=seed)
pd.crosstab(rare["part"], rare["label"].map({0: "NORMAL", 1: "PNEUMONIA"}))

# %% [markdown] tags=["core"]
# ### A fair trial
#
# We will compare several networks on these images. Every trial trains the same small network for a few epochs, once for
# each of several *seeds*. The seed sets the first weights and the order of the images: pure chance.

# %% tags=["core"]
shuffled = rare.index[rare["part"] == "train"].to_series().sample(frac=1, random_state=seed)
rows = [*shuffled[: settings.comparison_images], *rare.index[rare["part"] == "validation"]]
small = plain.at(image_size=settings.comparison_size).but(batch_size=16)
trial = {"pixels": images.cache(index, folder, size=settings.comparison_size)[rows],
         "split": rare.loc[rows].reset_index(drop=True), "run_dir": f"{run_dir}/trials",
         "seeds": settings.comparison_seeds, "epochs": settings.comparison_epochs, "progress": True}

# %% [markdown] tags=["core"]
# **Predict, then run**: which share of the NORMAL validation images does the plain network find? And of the
# pneumonias?

# %% tags=["core"]
by_plain = training.compare({"plain": small}, **trial)
by_plain[["seed", "recall_normal", "recall_pneumonia", "balanced_accuracy"]].round(3)

# %% [markdown] tags=["core"]
# The share of a class that is found is its [recall](glossary.md#recall). The mean of both recalls is the
# [balanced accuracy](glossary.md#balanced-accuracy): both classes count the same, however rare.
#
# A network that says PNEUMONIA to everything is right on fourteen of fifteen training images, so this is what it learns
# first. With more epochs it may find the rare class too; within a few, the large class has all the say.

# %% [markdown] tags=["core"]
# ### Exercise 5.1
#
# A lazy network answers PNEUMONIA every time. What is its balanced accuracy?

# %% tags=["exercise", "core"]
lazy = ...  # replace the dots

# %% tags=["solution", "core"]
lazy = (0.0 + 1.0) / 2  # no NORMAL is found, every PNEUMONIA is

# %% tags=["check", "core"]
exercises.check("05.1", lazy)

# %% [markdown] tags=["core"]
# ## Four ways to treat it
#
# | way | what changes |
# | --- | --- |
# | none | nothing |
# | [class weights](glossary.md#class-weight) | an error on NORMAL costs more in the loss |
# | [over-sampling](glossary.md#over-sampling) | NORMAL images are drawn again until both classes are equal |
# | [SMOTE](glossary.md#smote) | new NORMAL images are mixed from pairs of real ones |
#
# Each is one call. It returns a table with a row for each image to train on. Label 0 is NORMAL.

# %% tags=["core"]
labels = index["label"].to_numpy()
train = np.flatnonzero(rare["part"] == "train")
methods = {how: imbalance.balance(pixels, labels, how=how, rows=train, seed=seed)
           for how in imbalance.METHODS}
pd.DataFrame({how: made.table["label"].value_counts() for how, made in methods.items()})

# %% [markdown] tags=["core"]
# Class weights leave the counts alone. They change what an error costs:

# %% tags=["core"]
methods["class_weight"].class_weight

# %% [markdown] tags=["core"]
# ## What SMOTE makes
#
# SMOTE takes a NORMAL image, picks one of its five nearest NORMAL neighbours, and goes a random *step* from
# the first towards the second, pixel by pixel:
#
# $$\text{new} = \text{first} + \text{step} \cdot (\text{second} - \text{first}), \qquad 0 \le \text{step} \le 1$$
#
# **Predict, then run**: what does a picture half-way between two chests look like?

# %% tags=["core"]
table = methods["smote"].table
made = table[table["synthetic"]]
middle = made.iloc[[(made["step"] - 0.5).abs().argmin()]]
middle

# %% tags=["core"]
paths = index["path"].iloc[middle[["first", "second"]].to_numpy()[0]]
parents = np.stack([images.resize(images.read(folder / path), 224) for path in paths])[..., None]
between = imbalance.render(parents, middle.assign(first=0, second=1))[0]
plots.show(plots.smote_triplet(parents[0], between, parents[1], float(middle["step"].iloc[0])),
           alt="Two NORMAL chests, and between them the SMOTE image mixed from both: a double exposure")

# %% [markdown] tags=["core"]
# Left and right are the parents, drawn larger than the network sees them. In the middle is their mixture: a
# double exposure. What only one parent has is there at half strength. No child has such a chest. SMOTE was
# made for tables of a few columns, where half-way between two points is a plausible point. Among pixels it
# rarely is.

# %% [markdown] tags=["core"]
# ### Never on uint8
#
# Image files hold whole numbers from 0 to 255, the type `uint8`. It has no negative numbers.
#
# **Predict, then run**: half-way from grey 100 to grey 60 is 80. Where does `uint8` land?

# %% tags=["core", "nbval-check-output"]
first_grey, second_grey = np.array([100], "uint8"), np.array([60], "uint8")
difference = second_grey - first_grey
pd.DataFrame({"difference": difference, "half-way": first_grey + 0.5 * difference})

# %% [markdown] tags=["core"]
# -40 became 216, for `uint8` counts modulo 256. SMOTE on such arrays makes noise, without any error. So
# `imbalance` computes in `float32`.

# %% [markdown] tags=["core"]
# ### Never before the split, never on validation
#
# Suppose we balance first and split afterwards. Then a SMOTE image in training can have a parent in
# validation: the network has seen half of the exam.
#
# ### Exercise 5.2
#
# Below, training and validation are balanced *together*, which is wrong. `first` and `second` are the
# parents' row numbers. Count the synthetic images with at least one parent in validation.

# %% tags=["core"]
part = rare["part"].to_numpy()
together = np.flatnonzero(np.isin(part, ["train", "validation"]))
mixed = imbalance.balance(pixels, labels, how="smote", rows=together, seed=seed).table
mixed = mixed[mixed["synthetic"]]
print(len(mixed), "synthetic images")

# %% tags=["exercise", "core"]
leaking = ...  # replace the dots; part[mixed["first"]] is the part of each first parent

# %% tags=["solution", "core"]
leaking = ((part[mixed["first"]] == "validation") | (part[mixed["second"]] == "validation")).sum()

# %% tags=["check", "core"]
exercises.check("05.2", leaking, mixed=mixed, part=part)

# %% [markdown] tags=["core"]
# Balancing validation is as bad: its figures would describe chests that do not exist. `training.fit`
# balances the training part only.

# %% [markdown] tags=["core"]
# ## Which way helps?
#
# The same trial for each way. (Over-sampling and SMOTE make an epoch longer, so they also take more steps. Part of a lead
# may be that.)
#
# **Predict, then run**: which way finds the largest share of NORMAL? Which has the best balanced accuracy?

# %% tags=["core"]
ways = {"plain": small, "class weights": small.but(imbalance="class_weight"),
        "over-sampling": small.but(imbalance="oversample"), "SMOTE": small.but(imbalance="smote")}
by_way = training.compare(ways, **trial)
by_way.groupby("name", sort=False)[["recall_normal", "recall_pneumonia", "balanced_accuracy"]].mean().round(3)

# %% tags=["core"]
plots.show(plots.comparison(by_way, metric="balanced_accuracy"),
           alt="Balanced accuracy on validation of four ways to treat imbalance, one point a seed")

# %% [markdown] tags=["core"]
# **How to read it**: each point is one seed, all else equal. The distance from the lowest to the highest point of one way
# is its [spread](glossary.md#spread-over-seeds). Now look across the ways.
#
# > **A difference smaller than the spread has not been shown.**
#
# Most tutorials show one run of each. Cover all points but one of each way: how many stories could you tell?
#
# The seeds are one kind of chance, the validation images are another: with others of them each figure would differ. An
# interval can hold both. All ways answered the same images, so we take the *difference* to plain on them: a
# [paired interval](glossary.md#paired-interval).

# %% tags=["core"]
training.gains(by_way, against="plain").round(3)

# %% [markdown] tags=["core"]
# An interval that lies above 0 says: this way gained, and neither a lucky seed nor lucky images made it. Do the intervals
# of the three ways overlap? Then this trial does not say which of them is best.

# %% [markdown] tags=["core"]
# ## A whole recipe with SMOTE
#
# System 003 (`smote_224`) uses SMOTE. Its README leaves gaps, so our `smote_224` is a *reconstruction*. The
# last column says what is ours, and why.

# %% tags=["core"]
recipe = recipes.get("smote_224").at(image_size=settings.image_size, width=settings.heavy_width)
recipe.table()

# %% [markdown] tags=["core"]
# **Predict, then run**: the learning rate is a tenth of the plain network's. Will the curves move sooner or later
# than in notebook 4?

# %% tags=["core"]
smote_run = training.fit(recipe, pixels, split, run_dir=f"{run_dir}/smote_224-s{seed}", seed=seed,
                         epochs=settings.epochs, image_source=source)
plots.show(plots.learning_curves(smote_run.history),
           alt="Loss and accuracy of smote_224 in training and validation, over the epochs")

# %% [markdown] tags=["core"]
# Smaller steps need more of them; but layers and training set differ too. Compare the lines with care. Training is
# now measured on a *balanced* set with double exposures in it, validation on images as they come. They no longer
# answer the same question.

# %% [markdown] tags=["core"]
# ## Augmentation: more pictures from the same children
#
# [Augmentation](glossary.md#augmentation) changes each training image a little, differently in every epoch:
# changes that really happen. A child lies askew, an exposure is shorter. The label must stay true.

# %% tags=["core"]
gentle = augment.Augmentation(rotation=8, width_shift=0.06, height_shift=0.06, zoom=0.1,
                             brightness=0.15, contrast=0.2, gamma=0.2)
chest = images.resize(images.read(folder / index["path"].iloc[train[0]]), 224)[None, ..., None]
chest = chest.astype("float32") / 255
copies = augment.augment(np.repeat(chest, 7, axis=0), gentle, rng=np.random.default_rng(seed))
plots.show(plots.image_grid([*chest, *copies], titles=["original", *["augmented"] * 7]),
           alt="One chest and seven augmented copies: turned, shifted, zoomed, brighter or darker")

# %% [markdown] tags=["core"]
# Top left is the original. Would you still give each the same label? Could an X-ray room have made it?
#
# ### What a flip does to anatomy
#
# **Predict, then run**: a horizontal flip is in four of the five published systems. On which side is the heart afterwards?

# %% tags=["core"]
plots.show(plots.image_grid([chest[0], chest[0, :, ::-1]], titles=["as taken", "flipped"], columns=2),
           alt="A chest as taken and mirrored; in the mirrored one the heart points to the wrong side")

# %% [markdown] tags=["core"]
# A radiograph is shown as if the child faced you, so the heart points to the right of the picture. After
# the flip it points to the left. Hardly any child is built like that: a cat in a photograph has no wrong
# side, a chest has. Flips may still raise a figure, for pneumonia strikes both sides. Decide knowingly.

# %% [markdown] tags=["core"]
# From here on every trial starts from over-sampling. **Predict, then run**: does augmentation help within a few epochs?

# %% tags=["core"]
balanced = small.but(imbalance="oversample")
by_augmentation = training.compare({"over-sampling": balanced, "augmentation": balanced.but(augmentation=gentle)}, **trial)
plots.show(plots.comparison(by_augmentation), alt="Balanced accuracy with and without augmentation, by seed")

# %% [markdown] tags=["core"]
# **How to read it**: does one row's worst seed lie above the other's best? If not, the trial shows no difference.
# Augmentation makes training harder and pays late. In a short race, on images much like those of training, it
# may well lose. What it is for shows on images from elsewhere, in notebook 6.

# %% [markdown] tags=["core"]
# ## What went wrong in published work
#
# - System 003 says that it used SMOTE on its training data. Whether the validation images were set apart before, its
#   README does not say (we could not read the notebook beside it). You know what hangs on that.
# - A much-read tutorial left augmentation out "because X-ray scans are only taken in a specific orientation".
#   Its network reached about 98% in validation and 83% on test. How much augmentation would have changed that, it did
#   not measure.
# - Systems 001 and 004 set the rotation to .1 and .2. Their generator, Keras' `ImageDataGenerator`, reads *degrees*, so
#   their pictures hardly turn.

# %% [markdown] tags=["further"]
# **Predict, then run**: how much does a turn of .2 degrees change a pixel, and how much one of 10?

# %% tags=["further"]
turn = {degrees: augment.augment(chest, augment.Augmentation(rotation=degrees), rng=np.random.default_rng(seed))
        for degrees in (0.2, 10)}
pd.Series({degrees: 255 * np.abs(image - chest).mean() for degrees, image in turn.items()},
          name="mean change of a pixel (grey values of 255)").rename_axis("rotation up to (degrees)").to_frame()

# %% [markdown] tags=["core"]
# ## Two more knobs
#
# Each gets the same trial. What was trained above is loaded, not trained again.
#
# [Dropout](glossary.md#dropout) switches off a random part of the outputs at each training step, so that no
# unit can rely on a single other one. It fights overfitting, as does an [L2 penalty](glossary.md#l2-penalty), which adds
# the squared weights to the loss and so keeps them small.
#
# The [learning rate](glossary.md#learning-rate) is the length of a step.
#
# **Predict, then run**: what do steps of ten times the length do?

# %% tags=["core"]
knobs = {"over-sampling": balanced, "dropout": balanced.but(dropout=0.25),
         "learning rate x 10": balanced.but(learning_rate=10 * balanced.learning_rate)}
by_knob = training.compare(knobs, **trial)
plots.show(plots.comparison(by_knob), alt="Balanced accuracy with dropout and with ten times the learning rate, by seed")

# %% [markdown] tags=["core"]
# **How to read it**: a row at .5 is a network with one answer for all images. With too long steps one seed may still go
# well and the next fail: the spread itself is the finding. Who tries one seed sees either.
#
# Three knobs of the published systems show nothing in so short a trial, so they have none here:
#
# - [Batch normalization](glossary.md#batch-normalization) rescales what flows between layers to mean 0 and deviation 1:
#   with the batch's own figures in training, with running averages in predicting. Those averages need hundreds of
#   steps to settle. In a trial like this one it answered the same for every image, on all seeds.
# - [Learning-rate reduction](glossary.md#learning-rate-reduction) makes the steps smaller when the validation loss stops
#   falling. Within a few epochs it hardly comes to act.
# - Another [optimizer](glossary.md#optimizer): *Adam* and *RMSprop* both give every weight its own step length, and Adam
#   goes on a little in the direction of the steps before. In this trial, on the sample, they ended alike (.922 and .924).
#
# ## So what improved?
#
# All trials in one table. `gain` is the mean's distance from its starting point: plain for the ways, over-sampling for the
# others. `spread` is the larger of both spreads; `low` and `high` are the interval over seeds and images.

# %% tags=["core"]
start = {name: "plain" if name in ways else "over-sampling" for name in [*ways, "augmentation", *knobs]}
everything = pd.concat([by_way, by_augmentation, by_knob]).drop_duplicates(["name", "seed"])
scores = everything.groupby("name")["balanced_accuracy"].agg(["mean", "min", "max"])
spread = scores["max"] - scores["min"]
gains = pd.concat(training.gains(everything[everything["name"].isin([*names, base])], against=base)
                  for base, names in {"plain": ways, "over-sampling": [*knobs, "augmentation"]}.items())
summary = gains.assign(spread=[max(spread[name], spread[start[name]]) for name in gains.index])
summary[["gain", "spread", "low", "high"]].round(3)

# %% [markdown] tags=["core"]
# ### Exercise 5.3
#
# Make a list of the names in `summary` that improved: the gain is larger than the spread, *and* the interval lies above 0.

# %% tags=["exercise", "core"]
improved = ...  # replace the dots

# %% tags=["solution", "core"]
improved = list(summary.index[(summary["gain"] > summary["spread"]) & (summary["low"] > 0)])

# %% tags=["check", "core"]
exercises.check("05.3", improved, summary=summary)

# %% [markdown] tags=["core"]
# Two cautions. Whoever tries ten changes and keeps the best keeps some luck too. And a change may need more
# epochs than a trial gives: a trial says what is worth a full training, not what is best.
#
# ## Whole trainings, real images
#
# On all real images we asked again: whole trainings with several seeds, judged on *test*. A row is the mean with a
# setting less the mean without it, from `low` to `high` with 95%. The [AUC](glossary.md#auc) says how
# well a network ranks PNEUMONIA above NORMAL, wherever one cuts between them; notebook 6 draws it.
#
# **Predict, then run**: what helped there, augmentation, SMOTE or class weights?

# %% tags=["core"]
changed = claims.ablations(course.results())
changed.filter(regex="setting|recipe|seeds$|accuracy|auc").round(3)

# %% [markdown] tags=["core"]
# Augmentation did: for accuracy both its intervals lie above 0. For AUC look at `auc_low`: where it is below 0, no gain in
# AUC is shown. For SMOTE and class weights neither a gain nor a loss is shown: their intervals hold 0, which does not
# say that they do nothing. (An interval adds the chance of the seeds to that of the images, so over few seeds it is wide.)
# These are reports, made once at the end: nobody chose a setting by them, for then test would be a second validation.

# %% [markdown] tags=["further"]
# ## A recipe that was built to hold
#
# Our own recipe, `reference`, was found by such trials, on the real images. But validation was no judge: there every
# candidate was nearly perfect. The question was who holds when images *shift*, and there is no second hospital in
# this dataset. So one was imitated with training images alone. Three parts were held out with all their patients:
#
# | part | who is in it |
# | --- | --- |
# | `size` | NORMAL whose originals are small and wide, PNEUMONIA whose originals are large and narrow: the other way round than usual |
# | `exposure` | those whose brightness and sharpness look like the other class |
# | `blocks` | the highest numbers in the file names |
#
# **Predict, then run**: real figures, AUC. `random` is a validation as usual. In which part will a network without
# [augmentation](glossary.md#augmentation) fall?

# %% tags=["further"]
trials = pd.read_csv(course.results() / "trials.csv").set_index("name")
parts = ["random", "blocks", "size", "exposure"]
columns = [f"plain_{part}_auc" for part in parts]
candidates = {"no augmentation, 12 epochs": "row_none", "strong augmentation, 48 epochs": "row_reference_48ep"}
pd.DataFrame({what: trials.loc[name, columns].to_numpy(float) for what, name in candidates.items()}, index=parts)

# %% [markdown] tags=["further"]
# In `random` and `blocks` both networks are nearly perfect. In the other two they are not: where a
# [shortcut](glossary.md#shortcut) points to the wrong class, a network that relied on it is wrong too. Augmentation
# is meant to take shortcuts away: when every image may have any sharpness and proportion, neither tells the class. In
# `size` the augmented network is better, in `exposure` neither is good. (One seed each, and the two differ in epochs as
# well, so this shows no cause: the table of all trials, `results/trials.csv`, has others.)
#
# And the [threshold](glossary.md#threshold)? **Predict, then run**: over all trials, how far apart are the lowest and
# the highest threshold that was best in the random validation?

# %% tags=["further"]
trials["plain_threshold"].agg(["min", "max"]).to_frame("best threshold in validation")

# %% [markdown] tags=["further"]
# Nearly the whole scale. Where both classes are apart, any cut between them is best, and the last two or three odd
# images decide. We did not trust such a threshold, so `reference` has none: its classes weigh the same in training, and
# it keeps .5. Validation only chooses the epoch, by a loss in which each *image* weighs the same: not what its training
# aims at, and we saw it too late. Here is all of it; the last column says why.

# %% tags=["further"]
reference = recipes.get("reference").at(image_size=settings.image_size).but(batch_size=16)
reference.table()

# %% [markdown] tags=["further"]
# Cut down to smaller images, smaller batches and few epochs it trains in less than a minute.

# %% tags=["further"]
reference_run = training.fit(reference, pixels, split, run_dir=f"{run_dir}/reference-s{seed}", seed=seed,
                             epochs=settings.epochs, image_source=source)
plots.show(plots.learning_curves(reference_run.history),
           alt="Loss and accuracy of the cut-down reference recipe in training and validation")

# %% [markdown] tags=["further"]
# Training looks *worse* than validation: only training images are turned, blurred and darkened. What the whole recipe
# reaches on the real test set, and without its augmentation, is in [06 Evaluate](06_evaluate.ipynb).

# %% [markdown] tags=["core"]
# ## Here and on the real images

# %% tags=["core"]
normal = by_way.groupby("name")["recall_normal"].mean()
course.beside_real("05_improve", {
    **{f"NORMAL found in the trial: {name}": float(normal[name]) for name in ways},
    **{f"gain in balanced accuracy: {row.Index}": f"{row.gain:+.3f} [{row.low:+.3f} to {row.high:+.3f}]"
       for row in summary.itertuples()},
    "spread of over-sampling (balanced accuracy)": float(spread["over-sampling"]),
}, run_dir=run_dir, source=source)

# %% [markdown] tags=["core"]
# ## What to remember
#
# - The larger class does most of the talking in the loss. Look at each class's recall.
# - Balance the training part only, after the split, in `float32`. Look at what you train on.
# - Augment with changes that really happen, and know what a flip does to a heart.
# - Train with several seeds. A difference smaller than the spread has not been shown.
#
# All your choices were made on validation, and none of your networks has answered the test images yet.
# Next: [06 Evaluate](06_evaluate.ipynb), where we open them once.
