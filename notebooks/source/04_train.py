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
# # 4. Train: what a convolutional network does, and how it learns
#
# **You will be able to** explain loss, gradient, batch and epoch; calculate a convolution by hand and find it
# again in Keras; train a plain network, read its curves and see overfitting; stop in time; save and load.
#
# **Before you start**: the arrays and the grouped split of [3. Preprocess](03_preprocess.ipynb), and what a
# slope is.
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
import inspect
import math
import zipfile

import numpy as np
import pandas as pd
from IPython.display import Code

from cxr_utils import course, dataset, files, images, plots, recipes, sources, splits, training
from cxr_utils.course import exercises, lessons

source, path, data_dir, run_dir, profile, seed = lessons.chosen(source, path, data_dir, run_dir, profile, seed)
settings = course.profile(profile)
plots.style(source, data_dir)

# %% [markdown] tags=["core"]
# Pick up the thread. A small [profile](glossary.md#profile) takes small pictures, so that training takes
# seconds.

# %% tags=["core", "nbval-check-output"]
recipe = recipes.get("plain_224")
folder = sources.fetch(source, data_dir=data_dir, path=path)
index = dataset.scan(folder)
pixels = images.cache(index, folder, size=settings.image_size or recipe.image_size)
split = splits.grouped(index, seed=seed)
splits.sizes(split)

# %% [markdown] tags=["core"]
# ## Loss: how wrong is an answer?
#
# A network is a function with many numbers inside, its [weights](glossary.md#weight). A picture goes in, one
# number comes out: the probability of PNEUMONIA.
#
# The [loss](glossary.md#loss) of an answer is −log of the probability that it gave to the truth.
#
# **Predict, then run**: the child is healthy. How much more does the answer .99 cost than the answer .60?

# %% tags=["core", "nbval-check-output"]
answer = np.array([0.01, 0.40, 0.60, 0.99])
loss = pd.DataFrame({"if PNEUMONIA": -np.log(answer), "if NORMAL": -np.log(1 - answer)}, index=answer)
loss.rename_axis("answer").round(2)

# %% [markdown] tags=["core"]
# Wrong costs. Wrong and sure costs five times as much here.
#
# ## Gradient: which way is down?
#
# The [gradient](glossary.md#gradient) is the slope of the loss: how fast it grows when a weight grows. So we
# step against it:
#
# new weight = weight − [learning rate](glossary.md#learning-rate) × slope
#
# A toy: one weight *w*, the loss (*w* − 2)², and so the slope 2 (*w* − 2).
#
# **Predict, then run**: are all steps equally long?

# %% tags=["core"]
weights = np.linspace(-2, 6, 100)
steps = [-1.5]
for _ in range(8):
    steps.append(steps[-1] - 0.2 * 2 * (steps[-1] - 2))
steps = np.array(steps)
plots.show(
    plots.descent(weights, (weights - 2) ** 2, steps, (steps - 2) ** 2),
    alt="A parabola of loss over one weight; dots step down to its lowest point, in ever shorter steps",
)

# %% [markdown] tags=["core"]
# **How to read it**: a dot is the weight after a step. Steep means a long step, flat a short one. With a
# learning rate of 1.1 in place of 0.2 each step would leap over the bottom, and land higher. A network does
# the same with all its weights at once. How it makes steps of slopes, its [optimizer](glossary.md#optimizer) says.
#
# ## Batch and epoch
#
# The slope over *all* pictures takes long. So a step uses a [batch](glossary.md#batch): 32 pictures drawn at
# random. Once through all training pictures is an [epoch](glossary.md#epoch).
#
# **Predict, then run**: how many steps make an epoch here?

# %% tags=["core", "nbval-check-output"]
in_training = int((split["part"] == "train").sum())
in_training, math.ceil(in_training / recipe.batch_size)

# %% [markdown] tags=["further"]
# Each epoch wants a new order. After `set_random_seed`, Keras on TensorFlow shuffles an array in the *same*
# order every epoch. So `training` draws the order from seed and epoch: new each time, and the same again when
# you run it again.

# %% tags=["further", "nbval-check-output"]
[np.random.default_rng([seed, epoch]).permutation(8).tolist() for epoch in range(3)]

# %% [markdown] tags=["core"]
# ## A convolution by hand
#
# A [convolution](glossary.md#convolution) slides a small table, the [kernel](glossary.md#kernel), over the
# picture. At each place it multiplies the pixels by the kernel's numbers, and adds up.
#
# Here is a patch of a radiograph. The kernel has 1 on the left, −1 on the right.
#
# **Predict, then run**: when is the sum 0?

# %% tags=["core"]
number = int(np.flatnonzero((split["label"] == 1) & (split["part"] == "validation"))[0])
picture = images.resize(images.read(folder / index.loc[number, "path"]), 128) / np.float32(255)
kernel = np.array([[1, 0, -1]] * 3, dtype="float32")
patch = picture[60:63, 40:43]
patch.round(2)

# %% tags=["core"]
products = patch * kernel
products.round(2), round(float(products.sum()), 2)

# %% [markdown] tags=["core"]
# It is 0 where left and right are equally bright. It is far from 0 at an edge that runs up and down.
#
# **Predict, then run**: at *every* place of 128 x 128 pixels: how many sums are there?

# %% tags=["core"]
from cxr_utils.backend import keras  # Keras, started quietly

windows = np.lib.stride_tricks.sliding_window_view(picture, (3, 3))  # all patches: 126 x 126 of 3 x 3
result = (windows * kernel).sum(axis=(2, 3))
by_keras = keras.ops.conv(picture[None, :, :, None], kernel[:, :, None, None])  # None adds the axes Keras wants
result.shape, np.allclose(result, np.asarray(by_keras)[0, :, :, 0], atol=1e-5)

# %% [markdown] tags=["core"]
# The kernel has to fit in, so a pixel is lost on each side. `True` says: Keras calculates just this.

# %% tags=["core"]
plots.show(
    plots.kernel_steps(picture, kernel, result),
    alt="A radiograph, a kernel of 1, 0 and -1, and the result, in which edges that run up and down stand out",
)

# %% [markdown] tags=["core"]
# **How to read it**: the result is a [feature map](glossary.md#feature-map). It says where a feature is, here
# an edge. Light: brighter on the left. Dark: brighter on the right.
#
# A network is not given kernels. It starts with random ones and *learns* them, step by step.
#
# ### Exercise 4.1
#
# Write a 3 x 3 kernel for edges that run *sideways*: positive where it is bright above and dark below, 0 at an
# edge that runs up and down.

# %% tags=["exercise", "core"]
sideways = ...  # replace the dots

# %% tags=["solution", "core"]
sideways = np.array([[1, 1, 1], [0, 0, 0], [-1, -1, -1]])

# %% tags=["check", "core"]
exercises.check("04.1", sideways)

# %% [markdown] tags=["core"]
# ## ReLU, pooling, dense
#
# - [ReLU](glossary.md#relu) turns negative values into 0. Without such a bend, many layers could do no more
#   than one.
# - [Max pooling](glossary.md#max-pooling) keeps the largest of 2 x 2 values. The next kernel then sees a wider
#   part of the chest.

# %% tags=["core"]
relu = np.maximum(result, 0)
pooled = relu.reshape(63, 2, 63, 2).max(axis=(1, 3))  # blocks of 2 x 2, of each the largest
plots.show(
    plots.image_grid([result, relu, pooled], titles=["convolution", "ReLU", "max pooling"], columns=3),
    alt="Three maps: after the convolution, after ReLU with half of the edges gone, after pooling, coarser",
)

# %% [markdown] tags=["core"]
# **How to read it**: after ReLU only one side of each edge is left. After pooling the map is coarser: 63 x 63.
#
# At the end stand [dense layers](glossary.md#dense-layer): weighted sums of *all* values. The last sum goes
# through a [sigmoid](glossary.md#sigmoid), 1 / (1 + e⁻ˣ), which brings any number between 0 and 1.
#
# ## The network of system 004
#
# All that defines a training is a [recipe](glossary.md#recipe). This is the plainest of the five published
# ones.

# %% tags=["core", "nbval-check-output"]
pd.options.display.max_colwidth = None
recipe.table()

# %% tags=["core"]
Code(inspect.getsource(recipe.layers), language="python")

# %% [markdown] tags=["core"]
# `width` is ours, a factor on the size of every layer, here 1. The random changes of pictures (`augmentation`) and
# what says `none` wait for notebook 5, and our validation set is *not* test.
#
# **Predict, then run**: which layer holds most weights?

# %% tags=["core", "nbval-check-output"]
plain = recipe.at(image_size=settings.image_size, width=settings.width).but(augmentation=None)
model = plain.build(seed=seed)
rows = [(type(layer).__name__, layer.output.shape[1:], layer.count_params()) for layer in model.layers]
pd.DataFrame(rows, columns=["layer", "output shape", "weights"])

# %% [markdown] tags=["core"]
# Not a convolution: it uses the same small kernels at every place. The first dense layer has one weight for
# each pair of an input and an output.
#
# ### Exercise 4.2
#
# System 000 has a convolution with 3 x 3 kernels, 64 input channels, 128 output channels, and one more number, the
# bias, for each output channel. How many weights are that?

# %% tags=["exercise", "core"]
count = ...  # replace the dots

# %% tags=["solution", "core"]
count = 3 * 3 * 64 * 128 + 128

# %% tags=["check", "core"]
exercises.check("04.2", count)

# %% [markdown] tags=["further"]
# The published network has 4,349,897 weights. And ours, at full size?

# %% tags=["further", "nbval-check-output"]
recipe.build().count_params()

# %% [markdown] tags=["core"]
# **Predict, then run**: the network is untrained. What does it answer? And what do its first kernels see?

# %% tags=["core"]
one = pixels[number : number + 1] / np.float32(255)
before = np.asarray(model.layers[0](one))[0]
print(f"probability of PNEUMONIA: {float(np.asarray(model(one))[0, 0]):.2f}")
plots.show(plots.feature_maps(before), alt="Feature maps of the first layer with random kernels")

# %% [markdown] tags=["core"]
# **How to read it**: one map a kernel, dark is low. An empty map was all negative, and ReLU cut it. Random
# kernels find edges too, but nobody told them which edges matter. So the answer is a guess.
#
# ## Training
#
# One call trains, looks at the validation set after each epoch, and leaves a folder. The same call again
# opens that folder.
#
# **Predict, then run**: how will the accuracy move, on training and on validation pictures?

# %% tags=["core"]
run = training.fit(
    plain,
    pixels,
    split,
    run_dir=f"{run_dir}/plain_224-s{seed}",
    seed=seed,
    epochs=settings.epochs,
    image_source=source,
)
run.history[["epoch", "loss", "accuracy", "val_loss", "val_accuracy"]].round(3)

# %% tags=["core"]
plots.show(
    plots.learning_curves(run.history),
    alt="Loss and accuracy over epochs, each for training and for validation pictures",
)

# %% [markdown] tags=["core"]
# **How to read it**: epochs run to the right. Loss should fall, accuracy rise. The dotted line marks the epoch
# with the lowest validation loss. (Training values are means *during* an epoch, so validation may be ahead.)
#
# And the kernels?

# %% tags=["core"]
model = run.load_model()
after = np.asarray(model.layers[0](one))[0]
print(f"probability of PNEUMONIA: {float(np.asarray(model(one))[0, 0]):.2f}")
plots.show(plots.feature_maps(after), alt="Feature maps of the first layer after training, same radiograph")

# %% [markdown] tags=["core"]
# **How to read it**: compare with the maps before, one by one. Some kernels moved far from where chance had
# put them, some hardly. All the later layers moved too, and with them the answer.
#
# ## Overfitting, on purpose
#
# Many weights can learn pictures by heart. That is [overfitting](glossary.md#overfitting). We make it easy:
# 40 pictures to train on, batches of 8, twice the learning rate, 40 epochs. 40 other pictures validate.
#
# **Predict, then run**: what will the accuracy be on the first 40, and on the others?

# %% tags=["core"]
drawn = [split[split["part"] == part].sample(frac=1, random_state=seed).head(40) for part in ("train", "validation")]
few = pd.concat(drawn).sort_index()
few_pixels = pixels[few.index]
keen = plain.but(batch_size=8, learning_rate=0.002, epochs=40)
by_heart = training.fit(keen, few_pixels, few, run_dir=f"{run_dir}/by_heart-s{seed}", seed=seed)
plots.show(
    plots.learning_curves(by_heart.history),
    alt="Training loss falls towards 0; validation loss falls at first, then climbs",
)

# %% [markdown] tags=["core"]
# **How to read it**: the training lines go on towards perfect. The validation lines stop following. The space
# between is the *gap*, the sign of learning by heart. Accuracy may look steady while the loss climbs: the same
# errors, made with more confidence.

# %% tags=["core"]
last = pd.DataFrame({"all": run.history.iloc[-1], "40 pictures": by_heart.history.iloc[-1]}).T
last["gap"] = last["accuracy"] - last["val_accuracy"]
last[["accuracy", "val_accuracy", "gap"]].round(3)

# %% [markdown] tags=["core"]
# One of 40 pictures is 2.5 points, and the two trainings differ in more than the number of pictures. So take the gap
# as a sign, not as a measure.
#
# ## Early stopping
#
# The best epoch has the lowest validation loss. [Early stopping](glossary.md#early-stopping) ends the training
# when no better one has come for some epochs, the *patience*. Then it takes the best weights back.

# %% tags=["core"]
best = by_heart.history.loc[by_heart.history["val_loss"].idxmin()]
best[["epoch", "val_loss", "val_accuracy"]].round(3).to_frame("best epoch")

# %% [markdown] tags=["further"]
# ### Exercise 4.3
#
# With a patience of 5, after which epoch does this training end? Read it from `by_heart.history`. (If the
# patience never runs out: after the last.)

# %% tags=["exercise", "further"]
ends = ...  # replace the dots

# %% tags=["solution", "further"]
val_loss = by_heart.history["val_loss"]
waited = val_loss.index - val_loss.expanding().apply(np.argmin)
ends = int((waited >= 5).idxmax()) + 1 if (waited >= 5).any() else len(val_loss)

# %% tags=["check", "further"]
exercises.check("04.3", ends, history=by_heart.history)

# %% [markdown] tags=["core"]
# In a recipe it is one setting; `but` changes it.
#
# **Predict, then run**: how many of the 40 epochs are run?

# %% tags=["core"]
patient = {"monitor": "val_loss", "patience": 5, "restore_best_weights": True}
careful = keen.but(early_stopping=patient)
stopped = training.fit(careful, few_pixels, few, run_dir=f"{run_dir}/stopped-s{seed}", seed=seed)
stopped.record["epochs_run"]

# %% [markdown] tags=["core"]
# ## Save and load
#
# The run's folder holds the model, as a zip file of layers, weights and versions. What Keras saves opens in the same
# version of Keras, and in later ones. For older ones there is `cxr export`, which leaves out what these do not know.

# %% tags=["core", "nbval-check-output"]
sorted(zipfile.ZipFile(run.folder / "model.keras").namelist())

# %% [markdown] tags=["core"]
# **Predict, then run**: save it again, load that, and ask both. How far apart are their answers?

# %% tags=["core"]
copy = files.resolve(run_dir) / "copy.keras"
model.save(copy)
loaded = keras.models.load_model(copy)
validation = np.flatnonzero(split["part"] == "validation")
pictures = pixels[validation] / np.float32(255)
probability = model.predict(pictures, verbose=0)[:, 0]
float(np.abs(loaded.predict(pictures, verbose=0)[:, 0] - probability).max())

# %% [markdown] tags=["core"]
# ## Against the laziest answer
#
# **Predict, then run**: how far above "always PNEUMONIA" is the network, on the validation set?

# %% tags=["core"]
truth = split["label"].to_numpy()[validation]
accuracy = {"network": np.mean((probability >= 0.5) == truth), "always PNEUMONIA": np.mean(truth)}
pd.Series(accuracy, name="validation accuracy").round(3).to_frame()

# %% [markdown] tags=["core"]
# The difference is what was learned, of lungs or of shortcuts, give or take chance: few validation pictures, coarse
# steps. Is there none? Look at the curves. If the training loss still falls, more epochs may help; if it does not
# move, look at the learning rate. None of your networks answers test until notebook 6.
#
# ## What went wrong in published work
#
# - **000**, **002** and **004** take the *last* epoch, whatever it was. The validation accuracies of 000 were .851,
#   .878, .755, .889, .907. Two epochs less, and it would have been .755.
# - All three validate on *test*. Had they chosen the best epoch, they would have chosen it on test.
# - **004** moved between .769 and .896 in ten epochs, **002** between .729 and .941 in fifty. A single epoch is no
#   result.
# - **001** stops early, as one should. But its .9375 comes from one batch: 30 pictures of 32.

# %% [markdown] tags=["core"]
# ## Beside the real images

# %% tags=["core"]
facts = {
    "validation accuracy": float(accuracy["network"]),
    "validation accuracy of always PNEUMONIA": float(accuracy["always PNEUMONIA"]),
    "gap after the last epoch, all training pictures": float(last.loc["all", "gap"]),
    "gap after the last epoch, 40 training pictures": float(last.loc["40 pictures", "gap"]),
    "best epoch of 40, 40 training pictures": int(best["epoch"]),
}
course.beside_real("04_train", facts, run_dir=run_dir, source=source)

# %% [markdown] tags=["core"]
# ## What to remember
#
# - The loss measures an answer, the gradient says which way is down, a batch makes a step, an epoch sees all.
# - A convolution multiplies and adds, with the same small kernel everywhere. Training finds the kernel.
# - A growing gap between training and validation is the sign of overfitting. Watch the loss, not the accuracy alone.
# - Choose the epoch on validation, never on test.
# - Compare with the laziest answer first.
#
# Next: [5. Improve](05_improve.ipynb), which asks what this network does to the NORMAL pictures.
