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
# **You will be able to** explain loss, gradient, batch and epoch; say what a convolution computes; build a network in
# Keras, train it and read its curves; see overfitting, and stop in time; save and load.
#
# **Before you start**: the arrays and the grouped split of [3. Preprocess](03_preprocess.ipynb), and what a
# slope is.
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
import tempfile

import numpy as np
import pandas as pd

from cxr_utils import course, dataset, images, plots, recipes, sources, splits, training
from cxr_utils.course import exercises, lessons
from cxr_utils.models import keras  # Keras, started quietly

source, path, data_dir, run_dir, profile, seed = lessons.chosen(source, path, data_dir, run_dir, profile, seed)
settings = course.profile(profile)
plots.style(source, data_dir)

# %% [markdown] tags=["core"]
# We pick up the thread. A small [profile](glossary.md#profile) takes small pictures, so that training takes seconds.

# %% tags=["core", "nbval-check-output"]
recipe = recipes.get("plain_224")
size = settings.image_size or recipe.image_size
folder = sources.fetch(source, data_dir=data_dir, path=path, progress=True)
index = dataset.scan(folder)
pixels = images.cache(index, folder, size=size)
split = splits.grouped(index, seed=seed)
splits.sizes(split)

# %% [markdown] tags=["core"]
# ## Loss: how wrong is an answer?
#
# A network is a function with many numbers inside, its [weights](glossary.md#weight). A picture goes in, one
# number comes out: the probability of PNEUMONIA.
#
# The [loss](glossary.md#loss) of an answer is −log of the probability that it gave to the truth. Keras calls this *binary
# cross-entropy*. (The log of 1 is 0. The smaller the number, the larger −log.)
#
# The child is healthy. The answer .60 leaves .40 for NORMAL, so its loss is −log(.40) = .92, in Python `-np.log(0.4)`.
#
# **Predict, then run**: how many times as much does the answer .99 cost?

# %% tags=["guess", "core"]
times = None  # your guess: a number, such as 2

# %% tags=["core", "answer", "nbval-check-output"]
answer = np.array([0.01, 0.40, 0.60, 0.99])
loss = pd.DataFrame({"if PNEUMONIA": -np.log(answer), "if NORMAL": -np.log(1 - answer)}, index=answer)
lessons.compare("Times the cost of .60", times, loss.loc[0.99, "if NORMAL"] / loss.loc[0.6, "if NORMAL"], within=1)
loss.rename_axis("answer").round(2)

# %% [markdown] tags=["core"]
# To be wrong costs. To be wrong and sure costs much more.
#
# ## Gradient: which way is down?
#
# The [gradient](glossary.md#gradient) is the slope of the loss: how fast it grows when a weight grows. So we
# step against it:
#
# new weight = weight − [learning rate](glossary.md#learning-rate) × slope
#
# Here is a toy: one weight *w*, the loss (*w* − 2)², and so (calculus says) the slope 2 (*w* − 2).

# %% tags=["core"]
rate = 0.2
weights, steps = np.linspace(-2, 6, 100), [-1.5]
for _ in range(8):
    steps.append(steps[-1] - rate * 2 * (steps[-1] - 2))
steps = np.array(steps)
plots.show(plots.descent(weights, (weights - 2) ** 2, steps, (steps - 2) ** 2),
           alt="A parabola of loss over one weight; dots step down to its lowest point, in ever shorter steps")

# %% [markdown] tags=["core"]
# **How to read it**: a dot is the weight after a step. Where the curve is steep, the step is long. Change `rate`
# from 0.2 to 1.1 and run the cell again: each step leaps over the bottom, and lands higher.
#
# A network does the same with all its weights at once. [Backpropagation](glossary.md#backpropagation) finds the slopes:
# it goes through the layers from the loss back to the picture. The [optimizer](glossary.md#optimizer) turns the slopes
# into steps.
#
# The slope over *all* pictures takes long to compute. So each step uses a [batch](glossary.md#batch): 32 pictures,
# drawn at random. Once through all training pictures is an [epoch](glossary.md#epoch).

# %% [markdown] tags=["further"]
# ### A new order in each epoch
#
# After `set_random_seed`, Keras on TensorFlow shuffles an array in the *same* order every epoch. So `training`, which we
# use below, draws the order from [seed](glossary.md#seed) and epoch: new each time, and the same again when you run it again.

# %% tags=["further", "nbval-check-output"]
[np.random.default_rng([seed, epoch]).permutation(8).tolist() for epoch in range(3)]

# %% [markdown] tags=["core"]
# ## A convolution by hand
#
# A [convolution](glossary.md#convolution) slides a small table, the [kernel](glossary.md#kernel), over the
# picture. At each place it multiplies the pixels by the kernel's numbers, and adds up. (Mathematics calls this a
# cross-correlation. Its convolution turns the kernel by half a turn first; networks don't.)
#
# Here is a patch of a radiograph. The kernel has 1 on the left, −1 on the right.

# %% tags=["core"]
number = int(np.flatnonzero((split["label"] == 1) & (split["part"] == "validation"))[0])
picture = images.resize(images.read(folder / index.loc[number, "path"]), 128) / np.float32(255)
kernel = np.array([[1, 0, -1]] * 3, dtype="float32")
products = picture[60:63, 40:43] * kernel
products.round(2), round(float(products.sum()), 2)

# %% [markdown] tags=["core"]
# The sum is 0 where left and right are equally bright, and far from 0 at an edge that runs up and down. Now for all
# places, and once more by Keras:

# %% tags=["core"]
windows = np.lib.stride_tricks.sliding_window_view(picture, (3, 3))  # all patches: 126 x 126 of 3 x 3
result = (windows * kernel).sum(axis=(2, 3))
by_keras = keras.ops.conv(picture[None, :, :, None], kernel[:, :, None, None])  # None adds the axes Keras wants
print("the same as Keras:", np.allclose(result, np.asarray(by_keras)[0, :, :, 0], atol=1e-5))
plots.show(plots.kernel_steps(picture, kernel, result),
           alt="A radiograph, a kernel of 1, 0 and -1, and the result, in which edges that run up and down stand out")

# %% [markdown] tags=["core"]
# **How to read it**: the result is a [feature map](glossary.md#feature-map). It says where a feature is, here
# an edge. Light: brighter on the left. Dark: brighter on the right.
#
# Nobody gives a network its kernels. It starts with random ones and *learns* them, step by step.

# %% [markdown] tags=["further"]
# ### Exercise 4.1
#
# Write a 3 x 3 kernel for edges that run *sideways*: positive where it is bright above and dark below, 0 at an
# edge that runs up and down.

# %% tags=["exercise", "further"]
sideways = ...  # replace the dots

# %% tags=["solution", "further"]
sideways = np.array([[1, 1, 1], [0, 0, 0], [-1, -1, -1]])

# %% tags=["check", "further"]
exercises.check("04.1", sideways)

# %% [markdown] tags=["core"]
# ## Build a network
#
# A network with convolutions is a *convolutional neural network*, a [CNN](glossary.md#cnn). Its other parts are:
#
# - [ReLU](glossary.md#relu) turns negative values into 0. Without it, two layers could do no more than one.
# - [Max pooling](glossary.md#max-pooling) keeps the largest of 2 x 2 values. The next kernel then sees a wider
#   part of the chest.
# - [Dense layers](glossary.md#dense-layer) are weighted sums of *all* values. The last sum goes
#   through a [sigmoid](glossary.md#sigmoid), which brings any number between 0 and 1.
#
# This is the plainest of five published networks, that of system 004, line by line:

# %% tags=["core"]
layers = keras.layers
keras.utils.set_random_seed(seed)
network = keras.Sequential([
    keras.Input((size, size, 1)),
    layers.Conv2D(16, 3, activation="relu"), layers.MaxPooling2D(),  # 16 kernels of 3 x 3
    layers.Conv2D(32, 3, activation="relu"), layers.MaxPooling2D(),
    layers.Conv2D(64, 3, activation="relu"), layers.MaxPooling2D(),
    layers.Flatten(),  # all maps in one long row
    layers.Dense(100, activation="relu"),
    layers.Dense(1, activation="sigmoid")])
fresh = network.get_weights()

# %% [markdown] tags=["core"]
# **Predict, then run**: which kind of layer holds most weights?

# %% tags=["guess", "core"]
heaviest = None  # your guess: "Conv2D" or "Dense"

# %% tags=["core", "answer", "nbval-check-output"]
rows = [(type(layer).__name__, layer.output.shape[1:], layer.count_params()) for layer in network.layers]
table = pd.DataFrame(rows, columns=["layer", "output shape", "weights"])
lessons.compare("Most weights", heaviest, table["layer"][table["weights"].idxmax()])
table

# %% [markdown] tags=["core"]
# A convolution has few weights: it uses the same small kernels at every place. A dense layer has one weight for each pair
# of an input and an output.
#
# ## Train it
#
# `compile` says what is to fall (the loss), by which optimizer, and what else to count. `fit` takes the steps.

# %% tags=["core"]
train, validation = (np.flatnonzero(split["part"] == part) for part in ("train", "validation"))
x, y = pixels[train] / np.float32(255), split["label"].to_numpy()[train]
x_validation, y_validation = pixels[validation] / np.float32(255), split["label"].to_numpy()[validation]
one = pixels[number : number + 1] / np.float32(255)

# %% tags=["core"]
network.set_weights(fresh)  # each time that you run this cell, it starts anew
before = np.asarray(network.layers[0](one))[0]  # what the random kernels see, to compare later
network.compile(optimizer=keras.optimizers.Adam(0.001), loss="binary_crossentropy", metrics=["accuracy"])
by_hand = network.fit(x, y, batch_size=32, epochs=3, validation_data=(x_validation, y_validation), verbose=2)

# %% [markdown] tags=["core"]
# Each line is an epoch. The loss of the training pictures should fall.
#
# Learning rate, batch size, the number of epochs and of layers: what we choose, and training does not change, is a
# [hyperparameter](glossary.md#hyperparameter). A [recipe](glossary.md#recipe) holds all of them in one place.
#
# `training.fit` takes a recipe and does what you did. It also writes everything down in a folder, and the same call opens
# that folder again. (`augmentation` waits for lesson 5.)
#
# **Predict, then run**: which share of the validation pictures will be answered right, after the last epoch?

# %% tags=["guess", "core"]
right = None  # your guess: a share from 0 to 1

# %% tags=["core", "answer"]
plain = recipe.at(image_size=size).but(augmentation=None)
run = training.fit(plain, pixels, split, run_dir=f"{run_dir}/plain_224-s{seed}", seed=seed, epochs=settings.epochs,
                   image_source=source, beside=True, progress=True)
lessons.compare("Right in validation", right, run.history["val_accuracy"].iloc[-1], within=0.05)
plots.show(plots.learning_curves(run.history),
           alt="Loss and accuracy over epochs, each for training and for validation pictures")

# %% [markdown] tags=["core"]
# **How to read it**: epochs run to the right. The loss should fall, the accuracy rise. The dotted line marks the epoch
# with the lowest validation loss. (Training values are means *during* an epoch, so validation may be ahead.)
#
# Are the two networks the same, yours and the recorded one?

# %% tags=["core"]
model = run.load_model()
same_layers = [type(layer).__name__ for layer in model.layers] == list(table["layer"])
print("same layers:", same_layers, "same number of weights:", model.count_params() == network.count_params())
last = [round(seen["val_accuracy"].iloc[-1] * len(validation)) for seen in (pd.DataFrame(by_hand.history), run.history)]
print(f"Right of {len(validation)} in validation: yours {last[0]} after {len(by_hand.epoch)} epochs,",
      f"the recorded one {last[1]} after {len(run.history)}")
losses = run.history[["epoch", "loss"]].assign(yours=pd.Series(by_hand.history["loss"]))
losses.dropna().round(3)

# %% [markdown] tags=["core"]
# They even began with the same random weights. The losses fall alike, but they are not equal: the pictures came in
# another order. (Some images more or less in validation can be chance: lesson 5 measures that.) What did training do to
# the kernels?

# %% tags=["core"]
after = np.asarray(model.layers[0](one))[0]
titles = [f"kernel {k}, {when}" for when in ("before", "after") for k in range(6)]
plots.show(plots.feature_maps(np.concatenate([before[:, :, :6], after[:, :, :6]], axis=-1), titles=titles, columns=6),
           alt="Maps of the first six kernels: above with random kernels, below those of the same kernels after training")

# %% [markdown] tags=["core"]
# **How to read it**: above is what six of the 16 random kernels see, below what the same six see after training; dark is
# low. An empty map was all negative, and ReLU cut it. Some kernels moved far from where chance had put
# them, some hardly. All later layers moved too. (One need not start at random. To start from the kernels of a network that learned something
# else is [transfer learning](glossary.md#transfer-learning): lesson 8, further.)
#
# ### Exercise 4.2
#
# Build `deeper`: the same network with a fourth convolution, 64 kernels of 3 x 3 with ReLU, directly before `Flatten`.
# Compile it, and fit it for two epochs. How many weights has the new layer? (64 maps come in. Each kernel has one
# more number, its bias.)

# %% tags=["exercise", "core"]
deeper = ...  # replace the dots by keras.Sequential([...]), then deeper.compile(...) and deeper.fit(...)
added = ...  # replace the dots by the number of weights

# %% tags=["solution", "core"]
deeper = keras.Sequential([
    keras.Input((size, size, 1)),
    layers.Conv2D(16, 3, activation="relu"), layers.MaxPooling2D(),
    layers.Conv2D(32, 3, activation="relu"), layers.MaxPooling2D(),
    layers.Conv2D(64, 3, activation="relu"), layers.MaxPooling2D(),
    layers.Conv2D(64, 3, activation="relu"),
    layers.Flatten(),
    layers.Dense(100, activation="relu"),
    layers.Dense(1, activation="sigmoid")])
deeper.compile(optimizer=keras.optimizers.Adam(0.001), loss="binary_crossentropy", metrics=["accuracy"])
deeper.fit(x, y, batch_size=32, epochs=2, verbose=2)
added = 3 * 3 * 64 * 64 + 64

# %% tags=["check", "core"]
exercises.check("04.2", deeper, added, network=network)

# %% [markdown] tags=["core"]
# ## Overfitting, on purpose
#
# Many weights can learn pictures by heart. That is [overfitting](glossary.md#overfitting). We make it easy: only 40
# pictures to train on, 40 epochs, and ten wrong labels, as if a tired reader had written them. These can *only* be
# learned by heart.
#
# **Predict, then run**: which share of *other* pictures will be answered right, after the last epoch?

# %% tags=["guess", "core"]
others_right = None  # your guess: a share from 0 to 1

# %% tags=["core", "answer"]
rng = np.random.default_rng(seed)
few, others = rng.permutation(len(x))[:40], rng.permutation(len(x_validation))[:160]
told = np.where(np.arange(40) < 10, 1 - y[few], y[few])  # the first ten are wrong
forty = {"x": x[few], "y": told, "batch_size": 8, "epochs": 40, "verbose": 0,
         "validation_data": (x_validation[others], y_validation[others])}
network_of_40 = plain.build(seed=seed)  # a fresh network, compiled
by_heart = pd.DataFrame(network_of_40.fit(**forty).history).assign(epoch=range(1, 41))
lessons.compare("Right among the others", others_right, by_heart["val_accuracy"].iloc[-1], within=0.05)
plots.show(plots.learning_curves(by_heart), alt="Training loss falls to 0; validation loss falls at first, then climbs")

# %% [markdown] tags=["core"]
# **How to read it**: where the accuracy is flat at first, all get one answer: the lazy reader's share. Then the training
# lines go on, until also
# the ten wrong labels are answered as told. The validation loss falls at first. From its lowest place on it climbs: what is learned now helps with no other picture. The space between the lines is the
# *gap*, the sign of learning by heart. (Accuracy can look steady while the loss climbs: the same errors, made with more
# confidence.)
#
# ## Early stopping
#
# [Early stopping](glossary.md#early-stopping) ends a training when no new lowest validation loss has come for
# some epochs, the *patience*, and takes the best weights back. In Keras it is a [callback](glossary.md#callback):
# something that `fit` calls after each epoch.
#
# **Predict, then run**: how many of the 40 epochs will be run?

# %% tags=["guess", "core"]
epochs_run = None  # your guess: a number from 1 to 40

# %% tags=["core", "answer"]
stop = keras.callbacks.EarlyStopping(monitor="val_loss", patience=5, restore_best_weights=True)
stopped = plain.build(seed=seed).fit(**forty, callbacks=[stop])
lessons.compare("Epochs run", epochs_run, len(stopped.epoch), within=5)
kept = stopped.history["val_accuracy"][stop.best_epoch]
print(f"{len(stopped.epoch)} epochs run, the weights of epoch {stop.best_epoch + 1} kept: of the others {kept:.0%} right,",
      f"in place of {by_heart['val_accuracy'].iloc[-1]:.0%} after 40 epochs")

# %% [markdown] tags=["core"]
# One caution: the kept epoch has the lowest of many losses *on these pictures*, so part of it is luck. Look at the
# curve again. In a wide valley the epochs beside it do nearly as well, and the choice is safe. A single dip would mean
# little. On new pictures expect a little less either way: that is why test is a set of its own, and still closed.

# %% [markdown] tags=["further"]
# ### Exercise 4.3
#
# Break it on purpose: find a learning rate with which the network learns nothing. `but` changes a setting of a recipe:
# `plain.but(learning_rate=0.002).build(seed=seed)` is a fresh network, compiled. Fit it on `x` and `y` for three epochs,
# and keep what `fit` returns.

# %% tags=["exercise", "further"]
broken = ...  # replace the dots by what fit returns

# %% tags=["solution", "further"]
broken = plain.but(learning_rate=1.0).build(seed=seed).fit(x, y, epochs=3, verbose=2)

# %% tags=["check", "further"]
exercises.check("04.3", broken, truth=y)

# %% [markdown] tags=["core"]
# ## Save and load
#
# A saved model holds layers, weights and versions. It opens in the same version of Keras, and in later ones.
# Load it, ask both: their answers should not differ at all.

# %% tags=["core"]
with tempfile.TemporaryDirectory() as place:
    model.save(f"{place}/copy.keras")
    loaded = keras.models.load_model(f"{place}/copy.keras")
probability = model.predict(x_validation, verbose=0)[:, 0]
float(np.abs(loaded.predict(x_validation, verbose=0)[:, 0] - probability).max())

# %% [markdown] tags=["core"]
# ## Against the laziest answer

# %% tags=["core"]
accuracy = {"network": np.mean((probability >= 0.5) == y_validation), "always PNEUMONIA": np.mean(y_validation)}
pd.Series(accuracy, name="validation accuracy").round(3).to_frame()

# %% [markdown] tags=["core"]
# The difference is what was learned, of lungs or of shortcuts, give or take chance. And compare with the first figure that
# you wrote down in lesson 2: what eight numbers reach, without shapes. None of your networks
# answers test until lesson 6.
#
# ## What went wrong in published work
#
# - **000**, **002** and **004** take the *last* epoch, whatever it was. In 000 the validation accuracy fell by 12 points in
#   one epoch, and rose by 13 in the next. Two epochs less, and it would have published another figure.
# - All three validate on *test*. README or log also names the best epoch, of test.
# - **001** stops early, as one should. But its figure comes from one batch of 32 pictures.

# %% [markdown] tags=["core"]
# ## Beside the real images

# %% tags=["core"]
gap, gap_of_40 = ((seen["accuracy"] - seen["val_accuracy"]).iloc[-1] for seen in (run.history, by_heart))
facts = {"validation accuracy": accuracy["network"],
         "validation accuracy of always PNEUMONIA": accuracy["always PNEUMONIA"],
         "gap after the last epoch, all training pictures": gap,
         "gap after the last epoch, 40 training pictures, ten labels wrong": gap_of_40}
course.beside_real("04_train", facts, run_dir=run_dir, source=source)

# %% tags=["core"]
lessons.score()

# %% [markdown] tags=["core"]
# ## What to remember
#
# - The loss measures an answer, the gradient says which way is down, a batch makes a step, an epoch sees all.
# - A convolution multiplies and adds, with the same small kernel everywhere. Training finds the kernel.
# - `Sequential`, `compile`, `fit`: that is a training. What you choose for it are hyperparameters.
# - A growing gap between training and validation is the sign of overfitting. Watch the loss, not the accuracy alone.
# - Choose the epoch on validation, never on test. Even there, the best of many epochs is partly luck.
# - Compare with the laziest answer first.
#
# Next: [5. Improve](05_improve.ipynb), which asks what this network does to the NORMAL pictures.

# %% [markdown] tags=["further"]
# ## Five questions
#
# For whoever wants to know what stayed. Write your letters in place of the dots, in quotes and with commas, such as
# `"a", "c", ..., "b", "a"`, and run the cell again: it says why.

# %% tags=["further", "nbval-check-output"]
lessons.quiz("04", ...)
