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
# **You will be able to** measure what imbalance does to the rarer class; treat it by class weights, over-sampling and
# SMOTE, and see what SMOTE makes; add augmentation, and change the learning rate; tell an improvement from
# luck, by the spread over seeds and by an interval.
#
# **Before you start**: loss, epoch, validation and overfitting of [4. Train](04_train.ipynb).
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

from cxr_utils import augment, course, dataset, images, imbalance, plots, recipes, sources, splits, training
from cxr_utils.course import exercises, lessons

source, path, data_dir, run_dir, profile, seed = lessons.chosen(source, path, data_dir, run_dir, profile, seed)
settings = course.profile(profile)
plots.style(source, data_dir)
pd.options.display.max_colwidth = None  # show long cells whole

# %% [markdown] tags=["core"]
# We pick up the thread: index, image cache, split by patient, and the plain network of lesson 4.

# %% tags=["core"]
plain = recipes.get("plain_224").but(augmentation=None).at(image_size=settings.image_size, width=settings.width)
folder = sources.fetch(source, data_dir=data_dir, path=path, progress=True)
index = dataset.scan(folder)
pixels = images.cache(index, folder, size=plain.image_size)
split = splits.grouped(index, seed=seed)

# %% [markdown] tags=["core"]
# ## Feel the imbalance
#
# Three of four training images show pneumonia: the classes are [imbalanced](glossary.md#class-imbalance).
# The loss is a mean over *images*, so the larger class decides most of it.
#
# To feel it, we make it worse. Of NORMAL, only about one image for fifteen with pneumonia stays in training. The other
# NORMAL images go to validation.

# %% tags=["core"]
rare = splits.rarer(split, label=0, one_for=14, seed=seed)
pd.crosstab(rare["part"], rare["label"].map({0: "NORMAL", 1: "PNEUMONIA"}))

# %% [markdown] tags=["core"]
# ### A fair trial
#
# Every trial trains a small network for a few epochs, once for each of several *seeds*. The seed sets the first weights
# and the order of the images: pure chance.

# %% tags=["core"]
shuffled = rare.index[rare["part"] == "train"].to_series().sample(frac=1, random_state=seed)
rows = [*shuffled[: settings.comparison_images], *rare.index[rare["part"] == "validation"]]
small = plain.at(image_size=settings.comparison_size).but(batch_size=16)
trial = {"pixels": images.cache(index, folder, size=settings.comparison_size)[rows],
         "split": rare.loc[rows].reset_index(drop=True), "run_dir": f"{run_dir}/trials",
         "seeds": settings.comparison_seeds, "epochs": settings.comparison_epochs, "progress": True}
print(len(shuffled[: settings.comparison_images]), "training images,", settings.comparison_size, "px wide,",
      settings.comparison_epochs, "epochs, seeds", *settings.comparison_seeds)

# %% [markdown] tags=["core"]
# **Predict, then run**: which share of the NORMAL validation images does the plain network find?

# %% tags=["guess", "core"]
normal_found = None  # your guess: a share from 0 to 1

# %% tags=["core", "answer"]
by_plain = training.compare({"plain": small}, **trial)
lessons.compare("NORMAL found", normal_found, by_plain["recall_normal"].mean())
by_plain[["seed", "recall_normal", "recall_pneumonia", "balanced_accuracy"]].round(3)

# %% [markdown] tags=["core"]
# The share of a class that is found is its [recall](glossary.md#recall). The mean of both recalls is the
# [balanced accuracy](glossary.md#balanced-accuracy): both classes count the same, however rare. A row with 0 and 1 says
# PNEUMONIA to everything, and scores .5. On the training images that is right more than nine times in ten, so a network
# learns it first. More epochs may help the rare class.
#
# ## Four ways to treat it
#
# | way | what changes |
# | --- | --- |
# | none | nothing |
# | [class weights](glossary.md#class-weight) | an error on NORMAL costs more in the loss |
# | [over-sampling](glossary.md#over-sampling) | NORMAL images are drawn again until both classes are equal |
# | [SMOTE](glossary.md#smote) | new NORMAL images are mixed from pairs of real ones |
#
# Each is one call. It returns a table with a row for each image to train on. Label 0 is NORMAL. Class weights leave the
# counts alone; they change what an error costs.

# %% tags=["core"]
labels, train = index["label"].to_numpy(), np.flatnonzero(rare["part"] == "train")
methods = {how: imbalance.balance(pixels, labels, how=how, rows=train, seed=seed) for how in imbalance.METHODS}
costs = methods["class_weight"].class_weight
print(f"an error on NORMAL costs {costs[0]:.2f}, an error on PNEUMONIA {costs[1]:.2f}")
pd.DataFrame({how: made.table["label"].value_counts() for how, made in methods.items()})

# %% [markdown] tags=["core"]
# ## What SMOTE makes
#
# SMOTE takes a NORMAL image, picks one of its five nearest NORMAL neighbours, and goes a random part of the way (the
# *step*, from 0 to 1) from the first towards the second, pixel by pixel. What does a picture half-way between two
# chests look like?

# %% tags=["core"]
made = methods["smote"].table.query("synthetic")
middle = made.iloc[[(made["step"] - 0.5).abs().argmin()]]
paths = index["path"].iloc[middle[["first", "second"]].to_numpy()[0]]
parents = np.stack([images.resize(images.read(folder / path), 224) for path in paths])[..., None]
between = imbalance.render(parents, middle.assign(first=0, second=1))[0]
plots.show(plots.smote_triplet(parents[0], between, parents[1], float(middle["step"].iloc[0])),
           alt="Two NORMAL chests, and between them the SMOTE image mixed from both: a double exposure")

# %% [markdown] tags=["core"]
# **How to read it**: left and right are the parents, drawn larger than the network sees them. In the middle is their
# mixture, a double exposure: no child has such a chest. SMOTE was made for tables of a few columns, where half-way
# between two points is a plausible point. Among pixels it rarely is.

# %% [markdown] tags=["further"]
# ### Never on uint8
#
# Image files hold whole numbers from 0 to 255, the type `uint8`, which knows no negative numbers. Half-way from grey 100
# to grey 60 is 80. `uint8` lands elsewhere:

# %% tags=["further", "nbval-check-output"]
first_grey, second_grey = np.array([100], "uint8"), np.array([60], "uint8")
difference = second_grey - first_grey
pd.DataFrame({"difference": difference, "half-way": first_grey + 0.5 * difference})

# %% [markdown] tags=["further"]
# -40 became 216, for `uint8` counts modulo 256. SMOTE on such arrays makes noise, without any error. So
# `imbalance` computes in `float32`.

# %% [markdown] tags=["core"]
# ### Never before the split, never on validation
#
# Suppose we balance first and split afterwards. Then a SMOTE image in training can have a parent in validation: the network
# has seen half of the exam. And figures of a balanced validation would describe chests that do not exist. So `training.fit`
# balances the training part only.
#
# ### Exercise 5.1
#
# Below, training and validation are balanced *together*, which is wrong. `first` and `second` are the
# parents' row numbers. Count the synthetic images with at least one parent in validation. (`|` is "or"; put each side in
# round brackets.)

# %% tags=["core"]
part = rare["part"].to_numpy()
together = np.flatnonzero(np.isin(part, ["train", "validation"]))
mixed = imbalance.balance(pixels, labels, how="smote", rows=together, seed=seed).table.query("synthetic")
print(len(mixed), "synthetic images")

# %% tags=["exercise", "core"]
leaking = ...  # replace the dots; part[mixed["first"]] is the part of each first parent

# %% tags=["solution", "core"]
leaking = ((part[mixed["first"]] == "validation") | (part[mixed["second"]] == "validation")).sum()

# %% tags=["check", "core"]
exercises.check("05.1", leaking, mixed=mixed, part=part)

# %% [markdown] tags=["core"]
# ## Which way helps?
#
# Each way gets the same trial. (Over-sampling and SMOTE make an epoch longer: part of a lead may be the added steps.)

# %% tags=["core"]
ways = {"plain": small, "class weights": small.but(imbalance="class_weight"),
        "over-sampling": small.but(imbalance="oversample"), "SMOTE": small.but(imbalance="smote")}
by_way = training.compare(ways, **trial)
mean_of_way = by_way.groupby("name", sort=False)[["recall_normal", "recall_pneumonia", "balanced_accuracy"]].mean()
mean_of_way.round(3)

# %% tags=["core"]
plots.show(plots.comparison(by_way, metric="balanced_accuracy"),
           alt="Balanced accuracy on validation of four ways to treat imbalance, one point a seed")

# %% [markdown] tags=["core"]
# **How to read it**: each point is one seed, all else equal. The distance from the lowest to the highest point of one way
# is its [spread](glossary.md#spread-over-seeds). (A point far left may still rank the images well, but with .5 in the wrong
# place: see below.) Now look across the ways.
#
# > **A difference smaller than the spread has not been shown.**
#
# Cover all points but one of each way: how many stories could you tell?
#
# The spread is a quick look. An interval is the better answer, as it counts the chance of the images too. All ways answered
# the same images, so we subtract plain's mean on them from this way's: a [paired interval](glossary.md#paired-interval).

# %% tags=["core"]
training.gains(by_way, against="plain").round(3)

# %% [markdown] tags=["core"]
# An interval from `low` to `high` above 0 says: this way gained more than the luck of seeds and images explains, 19 times
# in 20. And which way is best? Ask the difference itself, here to over-sampling. An interval that holds 0 can't tell the two
# apart. (Whether that of class weights lies above 0 depends on the seed at the top.)

# %% tags=["core"]
training.gains(by_way, against="over-sampling").round(3)

# %% [markdown] tags=["core"]
# All this counts a probability of .5 or more as PNEUMONIA. [AUC](glossary.md#auc) needs no such
# [threshold](glossary.md#threshold): it asks how well a network *ranks* ill images above healthy ones (1: perfectly; .5:
# by chance; more in lesson 6).

# %% tags=["core"]
training.gains(by_way, against="plain", metric="auc").round(3)

# %% [markdown] tags=["core"]
# By AUC the gain is much smaller: plain ranked better than its answers at .5 showed, and gave all images too high a
# probability. Much of what balancing does is to move the answers across .5. Moving the threshold (lesson 6) does that too.

# %% [markdown] tags=["further"]
# ## A whole recipe with SMOTE
#
# System 003 (`smote_224`) uses SMOTE. Its README leaves gaps, so our `smote_224` is a *reconstruction*. The
# last column says what is ours, and why.

# %% tags=["further"]
recipe = recipes.get("smote_224").at(image_size=settings.comparison_size, width=settings.heavy_width)
recipe.table()

# %% [markdown] tags=["further"]
# The learning rate is a tenth of the plain network's, so the curves should move later than in lesson 4.

# %% tags=["further"]
smote_run = training.fit(recipe, images.cache(index, folder, size=settings.comparison_size), split,
                         run_dir=f"{run_dir}/smote_224-s{seed}", seed=seed, epochs=settings.comparison_epochs,
                         image_source=source, beside=True, progress=True)
plots.show(plots.learning_curves(smote_run.history),
           alt="Loss and accuracy of smote_224 in training and validation, over the epochs")

# %% [markdown] tags=["further"]
# **How to read it**: training is measured on a *balanced* set with double exposures in it, validation on images as they
# come. One and the same answer for all is right for half of the first, and for three quarters of the second. So the
# distance of the two lines is no gap. Has the loss hardly moved? The network has hardly begun.

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
copies = augment.augment(np.repeat(chest, 6, axis=0), gentle, rng=np.random.default_rng(seed))
plots.show(plots.image_grid([chest[0], chest[0, :, ::-1], *copies], titles=["original", "flipped", *["augmented"] * 6]),
           alt="One chest, its mirror image, and six augmented copies: turned, shifted, zoomed, brighter or darker")

# %% [markdown] tags=["core"]
# **How to read it**: would you still give each the same label? Could an X-ray room have made it?
#
# A radiograph is shown as if the child faced you, so the heart points to the right of the picture. After
# the *flip*, which four of the five published systems use, it points to the left. Hardly any child is built
# like that. Flips may still raise a figure, for pneumonia strikes both sides. Decide knowingly.
#
# ## Two more changes
#
# Each gets the same trial, and all start from over-sampling, which is loaded, not trained again.
#
# - Augmentation, as above.
# - Ten times the [learning rate](glossary.md#learning-rate): steps of ten times the length.
#
# **Predict, then run**: what will be the mean balanced accuracy with such long steps?

# %% tags=["guess", "core"]
long_steps = None  # your guess: a share from 0 to 1

# %% tags=["core", "answer"]
balanced = small.but(imbalance="oversample")
changes = {"over-sampling": balanced, "augmentation": balanced.but(augmentation=gentle),
           "learning rate x 10": balanced.but(learning_rate=10 * balanced.learning_rate)}
by_change = training.compare(changes, **trial)
mean_of_change = by_change.groupby("name")["balanced_accuracy"].mean()
lessons.compare("With long steps", long_steps, mean_of_change["learning rate x 10"])
plots.show(plots.comparison(by_change), alt="Balanced accuracy of over-sampling and of two changes to it, by seed")

# %% [markdown] tags=["core"]
# **How to read it**: a point at .5 is a network that calls all images the same, at a threshold of .5. Does one row's worst
# seed lie above another's best? If not, the points show no difference. Is the row of the long steps the widest? (It
# depends on the seed at the top.) Then the spread is the finding: one seed goes well, the next fails, and whoever tries one
# seed sees only one of the two.
#
# ## So what improved?
#
# All trials in one table. `gain` is over the starting point: plain for the ways, over-sampling for the changes. `spread` is
# the larger of both spreads. (Whether the interval of augmentation lies above 0 depends on the seed at the top.)

# %% tags=["core"]
summary = pd.concat([training.gains(by_way, against="plain"), training.gains(by_change, against="over-sampling")])
scores = pd.concat([by_way, by_change]).groupby("name")["balanced_accuracy"].agg(["min", "max"])
spread = scores["max"] - scores["min"]
start = ["plain" if name in ways else "over-sampling" for name in summary.index]
summary["spread"] = np.maximum(spread[summary.index], spread[start].to_numpy())
summary[["gain", "spread", "low", "high"]].round(3)

# %% [markdown] tags=["core"]
# ### Exercise 5.2
#
# We ask for both. Make a list of the names in `summary` that improved: the gain is larger than the spread, *and* the
# interval lies above 0.

# %% tags=["exercise", "core"]
improved = ...  # replace the dots

# %% tags=["solution", "core"]
improved = list(summary.index[(summary["gain"] > summary["spread"]) & (summary["low"] > 0)])

# %% tags=["check", "core"]
exercises.check("05.2", improved, summary=summary)

# %% [markdown] tags=["core"]
# Two cautions. Whoever keeps the best of ten changes keeps some luck too. And a change may need more epochs: a trial says
# what is worth a full training.

# %% [markdown] tags=["further"]
# ### Four changes that show nothing here
#
# Published systems use them, but a short trial can't show what they do.
#
# - [Dropout](glossary.md#dropout) switches off a random part of the outputs at each training step, so that no
#   unit can rely on a single other one. It fights overfitting, as does an [L2 penalty](glossary.md#l2-penalty), which
#   keeps the weights small. That pays late.
# - [Batch normalization](glossary.md#batch-normalization) rescales what flows between layers to mean 0 and deviation 1:
#   with the batch's own figures in training, with running averages in predicting. Those averages need hundreds of
#   steps to settle. Until then such a network may give every image the same answer.
# - [Learning-rate reduction](glossary.md#learning-rate-reduction) makes the steps smaller when the validation loss stops
#   falling. Within a few epochs it hardly comes to act.
# - Another [optimizer](glossary.md#optimizer): *Adam* and *RMSprop* both give every weight its own step length, and Adam
#   goes on a little in the direction of the steps before.

# %% [markdown] tags=["core"]
# ## What went wrong in published work
#
# - System 003 says that it used SMOTE on its training data. Whether the validation images were set apart before, its
#   README does not say (we could not read the notebook beside it). You know what hangs on that.
# - A much-read tutorial left augmentation out "because X-ray scans are only taken in a specific orientation". It did not
#   measure what that cost.

# %% [markdown] tags=["further"]
# ### What .2 degrees do
#
# Systems 001 and 004 set the rotation to .1 and .2. Keras' old `ImageDataGenerator`, which they use, reads *degrees*, so
# their pictures hardly turn. Its newer layer `RandomRotation` reads parts of a full turn: there .2 is up to 72 degrees.
# How much does a turn of up to .2 degrees change a pixel, and how much one of up to 10?

# %% tags=["further"]
turn = {degrees: augment.augment(chest, augment.Augmentation(rotation=degrees), rng=np.random.default_rng(seed))
        for degrees in (0.2, 10)}
pd.Series({degrees: 255 * np.abs(image - chest).mean() for degrees, image in turn.items()},
          name="mean change of a pixel (grey values of 255)").rename_axis("rotation up to (degrees)").to_frame()

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
# These are real figures, by AUC. `random` is a validation as usual.

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
# And the threshold? These are the lowest and the highest, over all trials, that were best in the
# random validation:

# %% tags=["further"]
trials["plain_threshold"].agg(["min", "max"]).to_frame("best threshold in validation")

# %% [markdown] tags=["further"]
# Nearly the whole scale. Where both classes are apart, any cut between them is best, and the last two or three odd
# images decide. We did not trust such a threshold, so `reference` has none: its classes weigh the same in training, and
# it keeps .5. Validation only chooses the epoch, by a loss in which each *image* weighs the same: not what its training
# aims at, and we saw it too late. Here is all of it; the last column says why.

# %% tags=["further"]
reference = recipes.get("reference").at(image_size=settings.comparison_size).but(batch_size=16)
reference.table()

# %% [markdown] tags=["further"]
# Cut down to smaller images, smaller batches and few epochs it trains within a minute.

# %% tags=["further"]
reference_run = training.fit(reference, images.cache(index, folder, size=settings.comparison_size), split,
                             run_dir=f"{run_dir}/reference-s{seed}", seed=seed, epochs=settings.comparison_epochs,
                             image_source=source, beside=True, progress=True)
plots.show(plots.learning_curves(reference_run.history),
           alt="Loss and accuracy of the cut-down reference recipe in training and validation")

# %% [markdown] tags=["further"]
# **How to read it**: training looks *worse* than validation, for only training images are turned, blurred and darkened.
# What the whole recipe reaches on the real test set, and without its augmentation, is in
# [6. Evaluate](06_evaluate.ipynb).
#
# ## Does it need the chest?
#
# Cover the middle of each picture, where the lungs are, and ask again. Who looks at lungs knows nothing now: an AUC near
# .5. `reference` did not need the chest (below). So its second form, `reference_2`, takes appearance from *other*
# pictures in training, whatever their class: their [histogram](glossary.md#histogram), or what lies around their chest.
# In some pictures it hides the chest, and the label becomes one half: nobody can know.

# %% tags=["further"]
some = [*train[labels[train] == 0][:8], *train[labels[train] == 1][:8]]
chests = np.stack([images.resize(images.read(folder / index["path"].iloc[row]), 224) for row in some])[..., None]
chests = chests.astype("float32") / 255
rng = np.random.default_rng(seed)
rows = {"as it is": chests,
        "other histogram": augment.augment(chests, augment.Augmentation(histogram=0.999), rng=rng),
        "other surroundings": augment.augment(chests, augment.Augmentation(surround=0.999), rng=rng),
        "hidden": augment.hide_chests(chests, 0.999, rng=rng)[0]}
titles = [f"{kind}, {row}" for row in rows for kind in ("NORMAL", "NORMAL", "PNEUMONIA", "PNEUMONIA")]
plots.show(plots.image_grid([each[i] for each in rows.values() for i in (0, 1, 8, 9)], titles=titles, columns=4),
           alt="Two NORMAL and two PNEUMONIA pictures, then with another histogram, other surroundings, a gray chest")

# %% [markdown] tags=["further"]
# **How to read it**: in each row it is the same four children. In the second and third row the lungs stay, and so does the
# label; what is around them changes. In the last row hardly any lung is left.
#
# Did that help? Here are four networks with 48 epochs, on the real images of a validation as usual (all of them are in
# `results/trials.csv`).

# %% tags=["further"]
asked = {"as it is": "plain_random_auc", "chest covered": "random_centre_covered_auc",
         "border alone": "random_border_alone_auc",
         "surroundings of\nthe other class": "random_surroundings_exchanged_auc"}
trained = {"reference": "p2_base_48ep", "and histograms": "p2_match_48ep",
           "and surroundings, hidden chests": "p2_sv_48ep", "and all three": "p2_sv_match_48ep"}
told = pd.DataFrame({name: trials.loc[row, [*asked.values()]].to_numpy(float) for name, row in trained.items()}, asked)
plots.style("folder", synthetic=False)  # these are networks of the real images
bars = told.plot.bar(rot=0, figsize=(10, 4), ylabel="AUC in validation", ylim=(0, 1.6), yticks=(0, 0.5, 1))
bars.legend(loc="upper center", ncols=2)
bars.axhline(0.5, color="black", linestyle=":")
plots.show(bars, alt="AUC of four networks when parts of the picture are covered or exchanged: with exchanged surroundings "
           "and hidden chests it is near one half without a chest, and high with the surroundings of the other class")
plots.style(source, data_dir)

# %% [markdown] tags=["further"]
# **How to read it**: at the left all four are nearly perfect, so a usual validation can't tell them apart. Without the
# chest, the first two still have .82 and more; the two others fall to .5 or below. And if the surroundings come from the
# other class, the first two guess, while the two others stay with the chest. So these two use the lungs, as one hopes.
#
# It is no proof that they are better elsewhere. In the parts above, which imitate a shift, all have an AUC of
# .94 to .96 (one seed each). What came out on test and in another hospital: [How far](../results/how-far.md).

# %% [markdown] tags=["core"]
# ## Beside the real images

# %% tags=["core"]
facts = {f"NORMAL found, where it is rare: {name}": found for name, found in mean_of_way["recall_normal"].items()}
facts |= {f"gain in balanced accuracy: {row.Index}": f"{row.gain:+.3f} [{row.low:+.3f} to {row.high:+.3f}]"
          for row in summary.itertuples()}
facts["spread of over-sampling (balanced accuracy)"] = spread["over-sampling"]
course.beside_real("05_improve", facts, run_dir=run_dir, source=source)

# %% [markdown] tags=["core"]
# On the real images plain found the rare class with one seed and missed it with another, so three seeds can't show what
# over-sampling gains: its interval holds 0. The long steps did harm there, and that is shown. Phantoms teach how to ask;
# only films tell about films.

# %% tags=["core"]
lessons.score()

# %% [markdown] tags=["core"]
# ## What to remember
#
# - The larger class decides most of the loss. Look at each class's recall.
# - Balance the training part only, after the split. Look at what you train on.
# - Augment with changes that really happen, and know what a flip does to a heart.
# - Train with several seeds. A difference smaller than the spread has not been shown.
# - Give a difference its interval, ask whether only the threshold moved, and count how many changes you tried.
#
# All your choices were made on validation, and none of your networks has answered the test images yet.
# Next: [6. Evaluate](06_evaluate.ipynb), where we open them once.

# %% [markdown] tags=["further"]
# ## Five questions
#
# For whoever wants to know what stayed. Write your letters in place of the dots, in quotes and with commas, such as
# `"a", "c", ..., "b", "a"`, and run the cell again: it says why.

# %% tags=["further", "nbval-check-output"]
lessons.quiz("05", ...)
