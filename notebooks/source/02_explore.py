# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown] tags=["core"]
# # 2. Explore: what could a network learn by mistake?
#
# **You will be able to** count what you have, look at it, find patients and pictures that occur twice,
# and measure how far one gets *without finding a [lesion](glossary.md#lesion)*.
#
# **Before you start**: the [index](glossary.md#index) of [1. Download](01_download.ipynb), and pandas. If masks, `|` and
# `.loc` are new to you, first do *A warm-up in pandas* in lesson 1 (5 minutes).
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
import pandas as pd

from cxr_utils import audit, course, dataset, images, plots, sources
from cxr_utils.course import exercises, lessons

pd.options.display.max_colwidth = None  # show long cells whole
source, path, data_dir, run_dir, profile, seed = lessons.chosen(source, path, data_dir, run_dir, profile, seed)
plots.style(source, data_dir)

# %% [markdown] tags=["core"]
# Pick up the thread where the first lesson left it. `pixels` holds every image, shrunk to one size, in the
# order of `index`.

# %% tags=["core"]
settings = course.profile(profile)
folder = sources.fetch(source, data_dir=data_dir, path=path, progress=True)
index = dataset.scan(folder)
pixels = images.cache(index, folder, size=settings.image_size or 224)
pixels.shape

# %% [markdown] tags=["core"]
# ## How many of each?
#
# Are there as many normal chests as ill ones, in each [split](glossary.md#split)?

# %% tags=["core", "nbval-check-output"]
pd.crosstab(index["split"], index["kind"], margins=True)

# %% tags=["core"]
plots.show(plots.class_counts(index), alt="Bars: train holds almost three images with pneumonia for each normal one")

# %% [markdown] tags=["core"]
# **How to read it**: one group of bars a split; compare the two colours within a group. Train holds almost
# three pictures with pneumonia for each normal one, a [class imbalance](glossary.md#class-imbalance). Test has another share.
# And look at `val`: in the original layout it has 16 images. What so few can tell is a question of
# [lesson 3](03_preprocess.ipynb).
#
# The table above shows the [kinds](glossary.md#kind), too: the original `val` has no virus at all. These splits were not
# drawn by chance.

# %% [markdown] tags=["further"]
# In shares it is plainer still:

# %% tags=["further"]
plots.show(plots.class_shares(index, by="kind"), alt="Bars: the share of normal chests is larger in test than in train")

# %% [markdown] tags=["further"]
# **How to read it**: each bar is one split, cut into kinds. If the splits had been drawn by chance, the cuts would lie at
# nearly the same places.

# %% [markdown] tags=["core"]
# ### Exercise 2.1
#
# The laziest reader ignores the picture and always answers PNEUMONIA. What is its [accuracy](glossary.md#accuracy), its
# share of right answers, on the *test* images?

# %% tags=["exercise", "core"]
lazy = ...  # replace the dots; `label` is 1 for PNEUMONIA

# %% tags=["solution", "core"]
lazy = index.loc[index["split"] == "test", "label"].mean()

# %% tags=["check", "core"]
exercises.check("02.1", lazy, index=index)

# %% [markdown] tags=["core"]
# This share is the [majority baseline](glossary.md#majority-baseline). Any accuracy has to be read against it.
#
# ## Size and storage
#
# **Predict, then run**: which class has the wider pictures?

# %% tags=["core", "guess"]
wider = None  # your guess: "NORMAL" or "PNEUMONIA"

# %% tags=["core", "answer", "nbval-check-output"]
widths = index.groupby("label")["width"].median()
lessons.compare("The class of wider pictures", wider, ["NORMAL", "PNEUMONIA"][widths.idxmax()])
sizes = index.groupby("kind")[["width", "height"]].median().astype(int)
sizes.join(pd.crosstab(index["kind"], index["mode"]))

# %% tags=["core"]
plots.show(plots.image_sizes(index), alt="Scatter of width and height: in original sizes NORMAL is larger")

# %% [markdown] tags=["core"]
# **How to read it**: a point is an image. Where one colour lies alone, the size gives the class away. (The straight edges
# among phantoms are limits of the program that draws them.)
# [Mode](glossary.md#mode) `L` has one grey [channel](glossary.md#channel), `RGB` has three.
#
# In the real originals the median width is 1,654 pixels for NORMAL and 1,160 for PNEUMONIA, and the 283
# three-channel files of train are all PNEUMONIA. If all your dots fall on one spot, somebody resized the images
# before you: then nothing shows here.
#
# ## Look at them
#
# Four pictures of each kind. What *besides* the lungs differs from row to row?

# %% tags=["core"]
chosen = index[index["split"] == "train"].groupby("kind").sample(4, random_state=seed)
pictures = [images.read(folder / path) for path in chosen["path"]]
titles = [f"{kind}\n{p.shape[1]} x {p.shape[0]}" for kind, p in zip(chosen["kind"], pictures, strict=True)]
plots.show(plots.image_grid(pictures, titles=titles), alt="Chests of each kind: borders, letters and arms differ too")

# %% [markdown] tags=["core"]
# **How to read it**: a row is a kind; above each picture stands width x height in pixels. Look away from the lungs:
# black borders, letters, arms, tilt. A network sees those as well.

# %% [markdown] tags=["further"]
# ## Brightness
#
# Fluid is light, air is dark. Which kind has the brightest pictures?

# %% tags=["further"]
plots.show(plots.intensity_histograms(pixels, index["kind"]), alt="Histograms: normal chests have more black pixels")

# %% [markdown] tags=["further"]
# **How to read it**: a [histogram](glossary.md#histogram) says how often each grey value occurs, from 0
# (black) to 255 (white). The further right the bulk of a curve, the brighter the pictures. Exposure and cropping
# move the curves as disease does, so the figure can't tell how much is disease.

# %% [markdown] tags=["core"]
# ## The mean picture
#
# Average all pictures of a kind, pixel by pixel. What stays sharp?

# %% tags=["core"]
plots.show(plots.mean_images(pixels, index["kind"]),
           alt="Mean pictures: lungs are lighter with pneumonia, and borders differ as well")

# %% [markdown] tags=["core"]
# **How to read it**: what is sharp here lies at the same place in all children. Compare the lungs, then the
# *borders*. In the last panel, the more orange, the lighter with pneumonia.
# Differences outside the body come from the way the pictures were made.

# %% [markdown] tags=["core"]
# ## Patients
#
# The number in a file's name is taken to name a child. Among the real pneumonias, pictures of one number and kind look
# a little more alike than any two do: shrunk to 16 x 16 pixels they [correlate](glossary.md#correlation) .78, against .73.
#
# **Predict, then run**: how many pictures does the most often imaged patient have?

# %% tags=["core", "guess"]
most_pictures = None  # your guess: a whole number; two off counts as right

# %% tags=["core", "answer", "nbval-check-output"]
patients = audit.patients(index)
lessons.compare("Most pictures of one patient", most_pictures, int(patients["images"].max()), within=2)
patients.head(3)

# %% tags=["core"]
plots.show(plots.images_per_patient(index), alt="Bars: most patients have one image, and a few have many")

# %% [markdown] tags=["core"]
# **How to read it**: a pair of bars is a number of images, a colour a class; each line upwards is ten times as many.
# The first pair counts patients with a single image. The long tail to the right is the danger:
# if one picture of such a patient trains the network and another tests it, the network may just recognise the
# child.
#
# Does a patient sit in two official splits?

# %% tags=["core", "nbval-check-output"]
shared = audit.shared_patients(index)
print(f"{len(shared)} patients occur in more than one split")
shared.head(3)

# %% [markdown] tags=["core"]
# In the real dataset 170 of the 202 patient numbers in test occur in train too, but where a number is `bacteria` in one, it
# is `virus` in the other. Among the phantoms, too, the kind is never the same.
# Whether they are the same children can't be proved. Test stays as it came; where we cut, between training and
# validation, we keep a number together. Of NORMAL images, nothing shows that the number is a patient at all.
# Where names hold no patient (source `medmnist`), this section stays empty, which is not the same as clean.
#
# ## Duplicates
#
# Is any file there twice, byte for byte?

# %% tags=["core", "nbval-check-output"]
twice = audit.duplicates(index)
twice.head(4)

# %% [markdown] tags=["core"]
# Rows with the same group number are the same file. The real dataset has 30 such groups.

# %% [markdown] tags=["further"]
# ### Exercise 2.2
#
# How many files could you delete without losing any picture?

# %% tags=["exercise", "further"]
spare = ...  # replace the dots; use the table `twice`

# %% tags=["solution", "further"]
spare = len(twice) - twice["group"].nunique()

# %% tags=["check", "further"]
exercises.check("02.2", spare, twice=twice)

# %% [markdown] tags=["further"]
# Two files can differ in bytes and show nearly the same: a [near duplicate](glossary.md#near-duplicate).
# Shrink each picture to 16 x 16 and correlate; 1 means equal up to brightness and contrast.
# Are the pairs found of one patient?

# %% tags=["further"]
near = audit.near_duplicates(index, pixels, correlation=0.98)
print(f"{len(near)} near pairs (200 at most are listed), {near['same_patient'].sum()} of them within a patient")
for pair in near.head(1).itertuples():
    pictures = [images.read(folder / path) for path in (pair.path_a, pair.path_b)]
    plots.show(plots.image_grid(pictures, titles=["one", "other"]), alt="The two pictures that are most alike")

# %% [markdown] tags=["further"]
# **How to read it**: this is the pair most alike; compare ribs, marker and borders. Most pairs listed are not of one
# patient: different children can look this alike at 16 x 16. A near pair is a suspicion. Look before you
# delete.

# %% [markdown] tags=["core", "slide"]
# ## Prediction without shapes
#
# Now the check that few people make. Take eight numbers of each picture. `mean` and `std` are its brightness and contrast.
# 2% of the pixels are darker than `p2`, and 2% lighter than `p98`. `centre_` is measured in the middle alone, `sharpness` is how much
# neighbouring pixels differ, `black_border` the share of black at the edges. But for
# middle and border, none knows where anything lies. Some follow disease too, as fluid is light: they can't tell it from a
# stronger exposure.

# %% tags=["core"]
statistics = audit.picture_statistics(pixels)
statistics.groupby(index["kind"].to_numpy()).mean().round(3)

# %% [markdown] tags=["core"]
# Many small decision trees (chains of questions such as "is it brighter than .5?"), each mending the errors of those
# before it ([gradient-boosted trees](glossary.md#gradient-boosted-trees)), may use them.
# One column is measured on test. The other, `accuracy_cv`, is measured inside train, by
# [cross-validation](glossary.md#cross-validation): train is cut in parts, and each is answered by trees that learned from
# the others.
#
# **Predict, then run**: always PNEUMONIA is right on about three of four pictures in train. Which share do the eight
# numbers reach there?

# %% tags=["core", "guess", "slide"]
eight_in_train = None  # your guess: a share from 0 to 1

# %% tags=["core", "answer"]
table = audit.shortcuts(index, pixels, seed=seed)
lessons.compare("Eight numbers in train", eight_in_train, table.loc["eight statistics", "accuracy_cv"], within=0.05)
table.round(3)

# %% tags=["core", "slide"]
plots.show(plots.shortcut_bars(table), alt="Bars: eight statistics beat always PNEUMONIA, in train and on test")

# %% [markdown] tags=["core"]
# **How to read it**: compare each bar with the dotted line *of the same colour*, the lazy reader. What rises above it
# was told without finding a [lesion](glossary.md#lesion). For width, height and mode that is a pure [shortcut](glossary.md#shortcut). For the
# eight statistics it is a mixture of shortcuts and of lungs that are lighter. Where a value is missing, the note says why.
#
# Write down the two figures of the eight statistics: you compare your network with them, in validation in lesson 4, on
# test in lesson 6. One that scores no better has shown no more than such sums can tell.
#
# (We have just read labels of test, to describe the dataset. No network is chosen by these figures.)
#
# **A trap in the real images.** On 199 of the 3,883 PNEUMONIA images of train and val a small stamp is burnt in at the lower
# right, "KV59" or another number; on none of the 1,349 NORMAL images. A network that reads it finds
# pneumonia without a look at a lung. `workflow/acquisition.py` counts it.

# %% [markdown] tags=["further"]
# ### Exercise 2.3
#
# Which single statistic separates the classes most? Divide the difference of the two class means by the
# standard deviation of all images, and name the largest, whatever its sign.

# %% tags=["exercise", "further"]
strongest = ...  # the name of a column of `statistics`

# %% tags=["solution", "further"]
means = statistics.groupby(index["label"].to_numpy()).mean()
strongest = ((means.loc[1] - means.loc[0]) / statistics.std()).abs().idxmax()

# %% tags=["check", "further"]
exercises.check("02.3", strongest, statistics=statistics, index=index)

# %% [markdown] tags=["further"]
# For the eight statistics on the real test images the [results](../results/how-far.md) say .835, and the box below .841.
# The pictures of the results had 224 pixels a side, and 15% of the patients were kept out of training; the lesson's had 96, and
# none were. The difference is four images of 624: so small a difference says nothing.

# %% [markdown] tags=["core"]
# ## What went wrong in published work
#
# - System 002 (`plain_300`) reports a validation accuracy of 100%. Its [validation set](glossary.md#validation-set) is
#   the folder of *test*, and the figure is text: somebody typed it into a `print`. Lesson 7 reads the log beside it.
# - The most read tutorial on this dataset split by image, so pictures of one patient fell on both sides, and reports
#   about 98% in validation.
# - Nothing that we could read of the five projects mentions duplicates, patients with many images, or picture size
#   as a clue.
# - Whoever reports a network's accuracy should show such a rival beside it. Keep the last row of the box below, eight
#   statistics and no shapes, for the networks of lessons 6 and 7.
#
# ## Beside the real images

# %% tags=["core"]
facts = {
    "share of PNEUMONIA in train": round(index.loc[index["split"] == "train", "label"].mean(), 3),
    "accuracy of always PNEUMONIA on test": round(index.loc[index["split"] == "test", "label"].mean(), 3),
    "most images of one patient": patients["images"].max(),
    "patients in more than one split": len(shared),
    "groups of exact duplicates": int(twice["group"].nunique()),
    "eight statistics: accuracy within train": round(table.loc["eight statistics", "accuracy_cv"], 3),
    "eight statistics: accuracy on test": round(table.loc["eight statistics", "accuracy_test"], 3),
}
course.beside_real("02_explore", facts, run_dir=run_dir, source=source)

# %% tags=["core"]
lessons.score()

# %% [markdown] tags=["core"]
# ## What to remember
#
# - Read every accuracy against the majority baseline.
# - Patients and duplicates tie images together: split by patient, not by image.
# - Size, mode, borders and exposure can betray the class. Measure how much *before* you train.
#
# Next: [3. Preprocess](03_preprocess.ipynb) makes all images alike, and splits them so that nothing
# [leaks](glossary.md#leak).

# %% [markdown] tags=["further"]
# ## Five questions
#
# For whoever wants to know what stayed. Write your letters in place of the dots, in quotes and with commas, such as
# `"a", "c", ..., "b", "a"`, and run the cell again: it says why.

# %% tags=["further", "nbval-check-output"]
lessons.quiz("02", ...)
