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
# 8-bit integers do to your sums, split images by patient, count what leaks, and say how little 16 images can
# tell.
#
# **Before you start**: the patients and duplicates of [2. Explore](02_explore.ipynb), and a little NumPy.
#
# **Minutes**: counted when this is built

# %% tags=["parameters", "core"]
# None: what course.toml beside this lesson says, or else the sample. Kernel: the Python of .venv.
source = None
path = None
data_dir = None
run_dir = None
profile = None
seed = None

# %% tags=["core"]
import timeit

import numpy as np
import pandas as pd
from PIL import Image
from scipy.stats import binomtest

from cxr_utils import course, dataset, files, images, plots, sources, splits
from cxr_utils.course import exercises, lessons

SIZE = 224  # pixels; here always, whatever size the profile trains on
source, path, data_dir, run_dir, profile, seed = lessons.chosen(source, path, data_dir, run_dir, profile, seed)
plots.style(source, data_dir)

# %% [markdown] tags=["core"]
# Pick up the thread: a folder of images and their [index](glossary.md#index).

# %% tags=["core", "nbval-check-output"]
folder = sources.fetch(source, data_dir=data_dir, path=path)
index = dataset.scan(folder)
dataset.counts(index)

# %% [markdown] tags=["core"]
# ## A file becomes an array
#
# A JPEG file is compressed. To [decode](glossary.md#decode) it is to work out its pixels: an
# [array](glossary.md#array) of numbers. We take the picture that is widest for its height.
#
# **Predict, then run**: which [type](glossary.md#data-type) has each number, and between which bounds does it
# lie?

# %% tags=["core"]
widest = (index["width"] / index["height"]).idxmax()
image = images.read(folder / index.loc[widest, "path"])
image.shape, image.dtype, int(image.min()), int(image.max())

# %% [markdown] tags=["core"]
# The shape is (height, width): rows first. `uint8` is a whole number of 8 bits, from 0 (black) to 255
# (white).
#
# Some files hold three [channels](glossary.md#channel): red, green and blue.
#
# **Predict, then run**: how far apart are the three, at most, in one pixel of a radiograph?

# %% tags=["core"]
colour = index.sort_values("mode").iloc[-1]  # "RGB" sorts behind "L"
raw = np.atleast_3d(Image.open(folder / colour["path"])).astype(int)
raw.shape, int(np.ptp(raw, axis=2).max())

# %% [markdown] tags=["core"]
# 0, or next to it: copies of one grey picture. (If the shape ends in 1, your source has no file of three channels.)
# So we read every file as greyscale, in one channel.
# The lungs lose nothing, and a shortcut of notebook 2 is gone.
#
# ## 8-bit integers wrap around
#
# **Predict, then run**: add 100 to 100 and to 200, in `uint8`.

# %% tags=["core", "nbval-check-output"]
np.array([100, 200], dtype="uint8") + np.uint8(100)

# %% [markdown] tags=["core"]
# 300 does not fit. What stays is 300 − 256 = 44, and nobody warns. This is [wrapping](glossary.md#wrapping).
# Now make a whole picture brighter.

# %% tags=["core"]
wrapped = image + np.uint8(90)
right = np.clip(image.astype("float32") + 90, 0, 255)
titles = ["as read", "+ 90 in uint8", "+ 90 in float32, clipped"]
plots.show(
    plots.image_grid([image, wrapped, right], titles=titles, columns=3),
    alt="One chest three times: as read; brighter in uint8, light parts now black or dark grey; brighter in float32",
)

# %% [markdown] tags=["core"]
# **How to read it**: in the middle all that was lighter than 165 went past 255 and began again at 0: 166 came out
# black, 255 as 89, a dark grey.
# The right one is what we meant. (The sample's pictures are drawn, and marked synthetic.)
#
# The rule: **`uint8` to keep, `float32` to calculate.**
#
# ## From 0 to 1
#
# A network starts with small [weights](glossary.md#weight) and takes small steps. Inputs up to 1 suit it better than inputs up to
# 255. All five published systems that this course follows divide by 255.

# %% tags=["core"]
scaled = image.astype("float32") / 255
scaled.dtype, float(scaled.min()), float(scaled.max())

# %% [markdown] tags=["core"]
# ## One size for all
#
# A network takes pictures of one size. Three of the five systems use 224 x 224. Two ways lead there:
#
# - **squash**: stretch each side to 224;
# - **pad**: keep the proportions, fill the rest with black.
#
# **Predict, then run**: which one changes the shape of the heart? Which one still tells the shape of the
# file?

# %% tags=["core"]
plots.show(
    plots.resize_comparison(image, SIZE),
    alt="One chest as it is, squashed to a square, and padded to a square with black bars",
)

# %% [markdown] tags=["core"]
# **How to read it**: squashing made the chest narrower than it is. Padding kept it, and added bars whose
# width tells the shape of the file. In the original dataset that shape differs by class: a shortcut again. Squashing
# tells it less plainly, by how far chest and letters are stretched.
# No choice is free. We squash; none of the published systems says that it padded. (Squares in your source? Then all
# three agree.)
#
# ## What shrinking leaves out
#
# A small picture must forget pixels. *Area* averages those that fall together. *Nearest* takes one of them and drops the
# rest; it is what Keras' image generators do unless told otherwise, and so did four of the five systems.
#
# **Predict, then run**: the same chest at 64 pixels, both ways. Which one has the harder edges?

# %% tags=["core"]
small = {how: images.resize(image, 64, interpolation=how) for how in ("area", "nearest")}
steps = [f"{how}: neighbours differ by {np.abs(np.diff(s.astype(int))).mean():.1f}" for how, s in small.items()]
plots.show(plots.image_grid(list(small.values()), titles=steps, columns=2, height=3),
           alt="One chest at 64 pixels, averaged over areas and by the nearest pixel: the second is more jagged")

# %% [markdown] tags=["core"]
# **How to read it**: by nearest, ribs break into steps and noise stays, so neighbours differ more. On the real images
# 64-pixel pictures by nearest have 1.6 times the sharpness (measured on 56 originals). A network learns such sharpness
# too, so a [recipe](glossary.md#recipe) says how its authors shrank, and a picture to be judged must be shrunk the same
# way.
#
# ## The last axis
#
# Keras wants height x width x channels. One channel is an axis too.

# %% tags=["core", "nbval-check-output"]
square = images.resize(image, SIZE)
square.shape, square.reshape(SIZE, SIZE, 1).shape

# %% [markdown] tags=["core"]
# ### Exercise 3.1
#
# A model takes a [batch](glossary.md#batch): many pictures in one array. Make a batch of one from `image`: resized to 224 x 224,
# `float32` from 0 to 1, shape (1, 224, 224, 1).

# %% tags=["exercise", "core"]
batch = ...  # replace the dots

# %% tags=["solution", "core"]
batch = images.resize(image, SIZE).astype("float32").reshape(1, SIZE, SIZE, 1) / 255

# %% tags=["check", "core"]
exercises.check("03.1", batch, image=image)

# %% [markdown] tags=["core"]
# ## The image cache
#
# Training looks at each picture many times. So we decode and resize once, and keep all in one file, the
# [image cache](glossary.md#image-cache).
#
# **Predict, then run**: how many megabytes will it have, at one byte a pixel?

# %% tags=["core", "nbval-check-output"]
pixels = images.cache(index, folder, size=SIZE)
print(type(pixels).__name__, pixels.shape, pixels.dtype)
print(f"{pixels.nbytes / 1e6:.1f} MB as uint8, {4 * pixels.nbytes / 1e6:.1f} MB as float32")

# %% [markdown] tags=["core"]
# A [memory map](glossary.md#memory-map) behaves like an array but stays on disk. Only what you touch is read.
# So it opens at once, and may be larger than your memory. Its pictures are scaled when a batch needs them.

# %% [markdown] tags=["further"]
# **Predict, then run**: how much faster is a picture from the cache than from its file?

# %% tags=["further"]
file = folder / index.loc[widest, "path"]
from_file = timeit.timeit("images.resize(images.read(file), SIZE)", globals=globals(), number=20) / 20
from_cache = timeit.timeit("np.array(pixels[widest])", globals=globals(), number=20) / 20
print(f"a picture from its file: {1000 * from_file:.2f} ms, from the cache: {1000 * from_cache:.3f} ms")

# %% [markdown] tags=["further"]
# A note beside the cache says what it was made from. Another index or setting makes another cache.

# %% tags=["further"]
note = sorted((folder / "cache").glob(f"{SIZE}-squash-*.json"))[-1]
files.read_json(note)

# %% [markdown] tags=["core"]
# ## Three ways to split
#
# The model learns from the [training set](glossary.md#training-set). *We* choose by the
# [validation set](glossary.md#validation-set): when to stop, which model to keep. The
# [test set](glossary.md#test-set) is for the end: none of your networks answers it before notebook 6.
#
# - `official`: the folders as they come.
# - `stratified`: 15% of the images outside test, drawn at random, with the same share of each class.
# - `grouped`: 15% of the *patients* outside test. All pictures of a patient stay together.
#
# **Predict, then run**: how many validation images does each have?

# %% tags=["core", "nbval-check-output"]
tables = {how: splits.make(index, how, seed=seed) for how in ("official", "stratified", "grouped")}
pd.concat({how: splits.sizes(table) for how, table in tables.items()})

# %% [markdown] tags=["core"]
# ## What leaks
#
# A [leak](glossary.md#leak) is something that training learned of the very pictures that are to judge it. Two
# pictures of one child share ribs and heart, so a network may know the child again. What that is worth, notebook 7
# measures.
#
# **Predict, then run**: which split leaks most from training to validation?

# %% tags=["core", "nbval-check-output"]
counted = {how: splits.leaks(table, index) for how, table in tables.items()}
leaks = pd.concat(counted, names=["split", None]).reset_index("split")
both = leaks[leaks["between"] == "train / validation"]
both.pivot(index="leak", columns="split", values="count")[list(tables)]

# %% tags=["core"]
plots.show(plots.leak_bars(leaks),
           alt="Bars: split by image, many validation images have a sibling in training; split by patient, none")

# %% [markdown] tags=["core"]
# **How to read it**: a bar counts what stands on both sides. Cut by image, many validation pictures have a
# sibling in training. Cut by patient, none has, by construction. The official one has too few images to leak
# much. Three limits remain:
#
# - **The NORMAL numbers are not known to be patients.** The grouped split keeps equal numbers together. That
#   makes the pneumonias clean as far as numbers tell, and proves nothing for the normals.
# - Test is official in all three. In the real images many of its person numbers occur in training too, never
#   with the same kind. Whether they are the same children can't be proved.
# - PneumoniaMNIST names no patients. There, only exact duplicates can be kept together.

# %% tags=["core", "nbval-check-output"]
split = tables["grouped"]
splits.digest(split), bool(split["patient_known"].all())

# %% [markdown] tags=["core"]
# We go on with `grouped`. Its [digest](glossary.md#digest) is a fingerprint of names and parts. Every run notes
# it: results compare only where digests agree.
#
# ### Exercise 3.2
#
# In `tables["stratified"]`, which **share** of the validation images belongs to a patient known to be in
# training too? The columns are `part` and `patient`.

# %% tags=["exercise", "core"]
share = ...  # replace the dots

# %% tags=["solution", "core"]
by_image = tables["stratified"]
in_training = by_image.loc[by_image["part"] == "train", "patient"].dropna()
share = by_image.loc[by_image["part"] == "validation", "patient"].isin(in_training).mean()

# %% tags=["check", "core"]
exercises.check("03.2", share, split=tables["stratified"])

# %% [markdown] tags=["core"]
# ## What 16 images can tell
#
# A model gets all 16 images of the official validation set right. Is it perfect? A
# [confidence interval](glossary.md#confidence-interval) gives the true accuracies that fit such a result. SciPy's takes
# the images as independent; several of one child would tell less.
#
# **Predict, then run**: what is the lowest accuracy that fits 16 out of 16, at 95%?

# %% tags=["core", "nbval-check-output"]
sixteen = binomtest(16, 16).proportion_ci()
round(float(sixteen.low), 2), round(float(sixteen.high), 2)

# %% [markdown] tags=["core"]
# A model that is wrong on every fifth picture can look perfect here.

# %% [markdown] tags=["further"]
# **Predict, then run**: a model gets 95% right. How wide is the interval for 20 images, and for 2,000?

# %% tags=["further", "nbval-check-output"]
shown = (20, 100, 620, 2000)
bounds = [binomtest(round(0.95 * n), n).proportion_ci() for n in shown]
pd.DataFrame(bounds, columns=["low", "high"], index=pd.Index(shown, name="images")).round(2)

# %% [markdown] tags=["further"]
# Four times the images halve the interval, roughly. The real test set has 624: about two points either way.
#
# ### Exercise 3.3
#
# How many images, **all** right, does it take until the lower bound reaches .95? Find the smallest number.

# %% tags=["exercise", "further"]
needed = ...  # replace the dots

# %% tags=["solution", "further"]
lower = pd.Series({n: binomtest(n, n).proportion_ci().low for n in range(1, 200)})
needed = lower[lower >= 0.95].index[0]

# %% tags=["check", "further"]
exercises.check("03.3", needed)

# %% [markdown] tags=["core"]
# ## What went wrong in published work
#
# Five published systems, numbered 000 to 004, used this dataset.
#
# - **000**, **002** and **004** validate on *test*. Nothing is left to judge the final model by.
# - **001** joins train and val and cuts them by image: the split of exercise 3.2. The network that it kept had
#   an accuracy of .95 in validation and of .83 on test. How much of this gap comes from the split, nobody measured.
# - **003** (`smote_224`) does not say in its README how it validated. The notebook beside it was too large for the copy that we
#   could read; it may well say it.
#
# None says that it splits by patient, and those whose split we know did not. None used the 16 images of `val` to
# validate, as far as we know. That they published their work is why we can learn from it.

# %% [markdown] tags=["core"]
# ## Beside the real images

# %% tags=["core"]
validating = {how: int((table["part"] == "validation").sum()) for how, table in tables.items()}
siblings = both[both["leak"].str.startswith("images of")]
siblings = siblings.set_index("split")["count"].astype("string").fillna("unknown")
facts = {
    "validation images, official": validating["official"],
    "validation images, grouped by patient": validating["grouped"],
    "of a patient in training, stratified by image": siblings["stratified"],
    "of a patient in training, grouped by patient": siblings["grouped"],
    "lowest accuracy that fits 16 of 16": round(float(sixteen.low), 2),
}
course.beside_real("03_preprocess", facts, run_dir=run_dir, source=source)

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
