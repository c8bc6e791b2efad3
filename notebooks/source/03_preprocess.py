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
# # 3. Preprocess: from files to arrays, and a split to trust
#
# **You will be able to** turn an image file into an array of 224 x 224 x 1 with values from 0 to 1, say what
# 8-bit integers do to your sums, split images by patient, count what leaks, and say how little 16 images tell.
#
# **Before you start**: the patients and duplicates of [2. Explore](02_explore.ipynb), and a little NumPy.
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
from PIL import Image
from scipy.stats import binomtest

from cxr_utils import course, dataset, images, plots, sources, splits
from cxr_utils.course import exercises, lessons

source, path, data_dir, run_dir, profile, seed = lessons.chosen(source, path, data_dir, run_dir, profile, seed)
plots.style(source, data_dir)

# %% [markdown] tags=["core"]
# Pick up the thread: a folder of images and their [index](glossary.md#index).

# %% tags=["core", "nbval-check-output"]
folder = sources.fetch(source, data_dir=data_dir, path=path, progress=True)
index = dataset.scan(folder)
dataset.counts(index)

# %% [markdown] tags=["core"]
# ## A file becomes an array
#
# A JPEG file is compressed. To [decode](glossary.md#decode) it is to work out its pixels: an
# [array](glossary.md#array) of numbers. We take the picture with the largest width / height. What
# [type](glossary.md#data-type) do its numbers have?

# %% tags=["core"]
widest = (index["width"] / index["height"]).idxmax()
image = images.read(folder / index.loc[widest, "path"])
image.shape, image.dtype, int(image.min()), int(image.max())

# %% [markdown] tags=["core"]
# The shape is (height, width): rows first. `uint8` is a whole number of 8 bits, from 0 (black) to 255
# (white).
#
# Some files hold three [channels](glossary.md#channel): red, green and blue. In a radiograph all three are the same grey, so
# we read every file in one channel. The lungs lose nothing, and a shortcut of lesson 2 is gone.

# %% [markdown] tags=["further"]
# How far apart are the three, at most, in one pixel?

# %% tags=["further"]
colour = index.sort_values("mode").iloc[-1]  # "RGB" sorts behind "L"
raw = np.atleast_3d(Image.open(folder / colour["path"])).astype(int)
raw.shape, int(np.ptp(raw, axis=2).max())

# %% [markdown] tags=["further"]
# 0, or next to it: copies of one grey picture. (If the shape ends in 1, your source has no file of three channels.)

# %% [markdown] tags=["core"]
# ## 8-bit integers wrap around
#
# **Predict, then run**: in `uint8`, what is 200 + 100?

# %% tags=["core", "guess"]
sum_in_uint8 = None  # your guess: a whole number

# %% tags=["core", "answer", "nbval-check-output"]
added = np.array([100, 200], dtype="uint8") + np.uint8(100)
lessons.compare("200 + 100 in uint8", sum_in_uint8, int(added[1]), within=0)
added

# %% [markdown] tags=["core"]
# 300 does not fit. What stays is 300 − 256 = 44, and nobody warns. This is [wrapping](glossary.md#wrapping).
# Now make a whole picture brighter.

# %% tags=["core"]
wrapped = image + np.uint8(90)
right = np.clip(image.astype("float32") + 90, 0, 255)
titles = ["as read", "+ 90 in uint8", "+ 90 in float32, clipped"]
grid = plots.image_grid([image, wrapped, right], titles=titles, columns=3)
plots.show(grid, alt="One chest: as read; with light parts turned black in uint8; brighter in float32")

# %% [markdown] tags=["core"]
# **How to read it**: in the middle all that was lighter than 165 went past 255 and began again at 0: 166 came out
# black, 255 as 89, a dark grey.
# The right one is what we meant.
#
# The rule: **`uint8` to keep, `float32` to calculate.**
#
# ## From 0 to 1
#
# A network starts with small [weights](glossary.md#weight) and takes small steps. Inputs up to 1 suit it better than
# inputs up to 255. So all five published systems that this course follows divide by 255.

# %% tags=["core"]
scaled = image.astype("float32") / 255
scaled.dtype, float(scaled.min()), float(scaled.max())

# %% [markdown] tags=["core"]
# ## One size for all
#
# A network takes pictures of one size. Three of the five systems use 224 x 224. Two ways lead there. (Of a square picture
# both make the same.)
#
# - **squash**: stretch each side to 224;
# - **pad**: keep the proportions, fill the rest with black.

# %% tags=["core"]
plots.show(plots.resize_comparison(image, 224),
           alt="One chest as it is, squashed to a square, and padded to a square with black bars")

# %% [markdown] tags=["core"]
# **How to read it**: squashing made the chest narrower than it is. Padding kept it, and added bars whose
# width tells the shape of the file. In the original dataset that shape differs by class: a shortcut again. Squashing
# tells it less plainly, by how far chest and letters are stretched.
#
# No choice is free. We squash; none of the published systems says that it padded.

# %% [markdown] tags=["further"]
# ## What shrinking leaves out
#
# A small picture must forget pixels. *Area* averages those that fall together. *Nearest* takes one of them and drops the
# rest; it is what Keras' image generators do unless told otherwise, and so did four of the five systems.
# Which one has the harder edges?

# %% tags=["further"]
small = {how: images.resize(image, 64, interpolation=how) for how in ("area", "nearest")}
steps = [f"{how}: neighbours differ by {np.abs(np.diff(s.astype(int))).mean():.1f}" for how, s in small.items()]
plots.show(plots.image_grid(list(small.values()), titles=steps, columns=2, height=3),
           alt="One chest at 64 pixels, averaged over areas and by the nearest pixel: the second is more jagged")

# %% [markdown] tags=["further"]
# **How to read it**: by nearest, ribs break into steps and noise stays, so neighbours differ more. On the real images
# 64-pixel pictures by nearest have 1.6 times the sharpness (measured on 56 originals). A network learns such sharpness
# too, so a [recipe](glossary.md#recipe) says how its authors shrank, and a picture to be judged must be shrunk the same
# way.

# %% [markdown] tags=["core"]
# ## The last axis
#
# Keras wants height x width x channels. One channel is an axis too.

# %% tags=["core", "nbval-check-output"]
square = images.resize(image, 224)
square.shape, square.reshape(224, 224, 1).shape

# %% [markdown] tags=["core"]
# ### Exercise 3.1
#
# A model takes a [batch](glossary.md#batch): many pictures in one array. Make a batch of one from `image`: resized to
# 224 x 224, `float32` from 0 to 1, shape (1, 224, 224, 1). Resize first: `images.resize` takes `uint8`. Then scale.

# %% tags=["exercise", "core"]
batch = ...  # replace the dots

# %% tags=["solution", "core"]
batch = images.resize(image, 224).astype("float32").reshape(1, 224, 224, 1) / 255

# %% tags=["check", "core"]
exercises.check("03.1", batch, image=image)

# %% [markdown] tags=["core"]
# ## The image cache
#
# Training looks at each picture many times. So we decode and resize once, and keep all in one file, the
# [image cache](glossary.md#image-cache).

# %% tags=["core", "nbval-check-output"]
pixels = images.cache(index, folder, size=224)
print(type(pixels).__name__, pixels.shape, pixels.dtype)
print(f"{pixels.nbytes / 1e6:.1f} MB as uint8, {4 * pixels.nbytes / 1e6:.1f} MB as float32")

# %% [markdown] tags=["core"]
# A [memory map](glossary.md#memory-map) behaves like an array but stays on disk, and only what you touch is read.
# So it may be larger than your memory. Its pictures are scaled when a batch needs them.

# %% [markdown] tags=["core"]
# ## Three ways to split
#
# The model learns from the [training set](glossary.md#training-set). *We* choose by the
# [validation set](glossary.md#validation-set): when to stop, which model to keep. The
# [test set](glossary.md#test-set) is for the end: from here on no network answers it before lesson 6.
#
# - `official`: the folders as they come.
# - `stratified`: 15% of the images outside test, drawn at random, with the same share of each class.
# - `grouped`: 15% of the *patients* outside test. All pictures of a patient stay together.

# %% tags=["core", "nbval-check-output"]
tables = {how: splits.make(index, how, seed=seed) for how in ("official", "stratified", "grouped")}
pd.concat({how: splits.sizes(table) for how, table in tables.items()})

# %% [markdown] tags=["core"]
# ## What leaks
#
# A [leak](glossary.md#leak) is something that training learned of the very pictures that are to judge it. Two
# pictures of one child share ribs and heart, so a network may know the child again. Lesson 7 measures what that is worth.
#
# **Predict, then run**: cut by image (`stratified`), how many of the validation images (the table above says of how many)
# are of a patient who also has images in training?

# %% tags=["core", "guess"]
leaking = None  # your guess: a whole number; ten off counts as right

# %% tags=["core", "answer", "nbval-check-output"]
counted = {how: splits.leaks(table, index) for how, table in tables.items()}
leaks = pd.concat(counted, names=["split", None]).reset_index("split")
both = leaks[leaks["between"] == "train / validation"]
siblings = both[both["leak"] == "images of these patients"].set_index("split")["count"]
lessons.compare("Of a patient in training", leaking, siblings["stratified"], within=10)
both.pivot(index="leak", columns="split", values="count")[list(tables)]

# %% tags=["core"]
plots.show(plots.leak_bars(leaks[leaks["leak"] == "images of these patients"]),
           alt="Bars: split by image, many validation images have a sibling in training; split by patient, none")

# %% [markdown] tags=["core"]
# **How to read it**: a bar counts the validation images whose patient has images in training, too. Cut by image, they are
# many. Cut by patient, there are none, by construction. The official one has too few images to leak much. Three limits
# remain:
#
# - The grouped split keeps equal numbers together. **The NORMAL numbers are not known to be patients**, so for them
#   this proves nothing.
# - Test is official in all three: its numbers, too, occur in training (lesson 2).
# - The source `medmnist` names no patients. There, only exact duplicates can be kept together.

# %% tags=["core", "nbval-check-output"]
split = tables["grouped"]
splits.digest(split)

# %% [markdown] tags=["core"]
# We go on with `grouped`. Its [digest](glossary.md#digest) is a fingerprint of names and parts. Every run notes
# it: results compare only where digests agree.

# %% [markdown] tags=["further"]
# ### Exercise 3.2
#
# In `tables["stratified"]`, which **share** of the validation images belongs to a patient known to be in
# training too? The columns are `part` and `patient`; lesson 1 shows `.isin`.

# %% tags=["exercise", "further"]
share = ...  # replace the dots

# %% tags=["solution", "further"]
by_image = tables["stratified"]
in_training = by_image.loc[by_image["part"] == "train", "patient"].dropna()
share = by_image.loc[by_image["part"] == "validation", "patient"].isin(in_training).mean()

# %% tags=["check", "further"]
exercises.check("03.2", share, split=tables["stratified"])

# %% [markdown] tags=["core"]
# ## What 16 images can tell
#
# A model gets all 16 images of the official validation set right. Is it perfect? One image more or less moves its
# accuracy by 6 [points](glossary.md#points). A [confidence interval](glossary.md#confidence-interval) gives the true accuracies that fit such a
# result: at 95%, about 95 of 100 such intervals hold the true figure. SciPy's supposes that each image is another child's;
# with several of one child it would be wider.
#
# **Predict, then run**: lesson 0 showed the lowest accuracy that fits 16 out of 16, at 95%: about .8. And 15 out of 16?

# %% tags=["core", "guess"]
lowest = None  # your guess: a share from 0 to 1

# %% tags=["core", "answer", "nbval-check-output"]
sixteen, fifteen = (binomtest(right, 16).proportion_ci() for right in (16, 15))
lessons.compare("The lowest accuracy that fits 15 of 16", lowest, float(fifteen.low), within=0.05)
pd.DataFrame([sixteen, fifteen], index=["16 of 16", "15 of 16"], columns=["low", "high"]).round(2)

# %% [markdown] tags=["core"]
# A model that is wrong on every fifth picture can look perfect here. The other lessons build on this: whoever chooses or
# judges by 16 images knows next to nothing.

# %% [markdown] tags=["further"]
# A model gets 95% right. How wide is the interval for 20 images, and for 2,000?

# %% tags=["further", "nbval-check-output"]
shown = (20, 100, 620, 2000)
bounds = [binomtest(round(0.95 * n), n).proportion_ci() for n in shown]
pd.DataFrame(bounds, columns=["low", "high"], index=pd.Index(shown, name="images")).round(2)

# %% [markdown] tags=["further"]
# Four times the images halve the interval, roughly. The real test set has 624: about two points either way.

# %% [markdown] tags=["core"]
# ## What went wrong in published work
#
# Five published systems, numbered 000 to 004, used this dataset.
#
# - **000**, **002** and **004** validate on *test*. Nothing is left to judge the final model by.
# - **001** joins train and val and cuts them by image, as `stratified` does. How much of its .95 in validation comes from
#   that, nobody measured.
# - **003** (`smote_224`) does not say in its README how it validated. The notebook beside it was too large for the copy
#   that we could read; it may well say it.
#
# None says that it splits by patient, or that it validated on the 16 images alone. That they published their work is why we
# can learn from it.

# %% [markdown] tags=["core"]
# ## Beside the real images

# %% tags=["core"]
validating = {how: int((table["part"] == "validation").sum()) for how, table in tables.items()}
known = siblings.astype("string").fillna("unknown") + " of " + pd.Series(validating).astype("string")
facts = {
    "validation images, official": validating["official"],
    "of a patient in training, stratified by image": known["stratified"],
    "of a patient in training, grouped by patient": known["grouped"],
    "lowest accuracy that fits 16 of 16": round(float(sixteen.low), 2),
}
course.beside_real("03_preprocess", facts, run_dir=run_dir, source=source)

# %% tags=["core"]
lessons.score()

# %% [markdown] tags=["core"]
# ## What to remember
#
# - Decode, greyscale, resize, scale, add the channel axis: 224 x 224 x 1, from 0 to 1.
# - `uint8` to keep, `float32` to calculate.
# - Squashing bends the chest, padding shows the shape of the file. Choose one, and say which.
# - Split by patient where patients are known. Count the leaks instead of hoping.
# - 16 images can't validate anything. Test is for the end.
#
# Next: [4. Train](04_train.ipynb), where these arrays meet a network.

# %% [markdown] tags=["further"]
# ## Five questions
#
# For whoever wants to know what stayed. Write your letters in place of the dots, in quotes and with commas, such as
# `"a", "c", ..., "b", "a"`, and run the cell again: it says why.

# %% tags=["further", "nbval-check-output"]
lessons.quiz("03", ...)
