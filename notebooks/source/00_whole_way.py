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
# # 0. The whole way: a wonderful figure, and why it is not true
#
# **You will be able to** say what this course asks: a wonderful figure, three questions that it does not survive, and
# where each is answered.
#
# **Before you start**: nothing. You need not understand each line yet.
#
# **Minutes**: counted when this is built
#
# > **Not a medical device.** This course is for teaching and research. Nothing in it may be used to diagnose
# > or treat anyone.

# %% tags=["parameters", "core"]
# Nothing to do here. None means: what course.toml beside this lesson says. The images are the sample's here, whatever the source is.
source = None
path = None
data_dir = None
run_dir = None
profile = None
seed = None

# %% tags=["core"]
import numpy as np
import pandas as pd
from scipy import stats
from sklearn import linear_model, pipeline, preprocessing

from cxr_utils import dataset, images, plots, sources, splits
from cxr_utils.course import lessons

source, path, data_dir, run_dir, profile, seed = lessons.chosen(source, path, data_dir, run_dir, profile, seed)
plots.style("sample")

# %% [markdown] tags=["core"]
# ## The images
#
# The pictures here are [phantoms](glossary.md#phantom): radiographs that a program drew. They show no child. Some chests are healthy (NORMAL). In others (PNEUMONIA) parts of the lungs are light
# that should be dark.
#
# There are three folders: `train` to learn from, `val` to compare networks and choose one, and `test` for the end.

# %% tags=["core", "nbval-check-output"]
folder = sources.fetch("sample", data_dir=data_dir, progress=True)  # drawn the first time, in about half a minute
index = dataset.scan(folder)
pixels = images.cache(index, folder, size=48)  # all shrunk to 48 x 48
dataset.counts(index)

# %% [markdown] tags=["core"]
# ## A network that answers
#
# We take the smallest network there is, a single neuron. It multiplies each pixel by a number of its own, adds all up,
# and turns the sum into a probability of PNEUMONIA. It learns good numbers from `train`. 15% of the patients of `train`
# are kept aside: it never sees them.

# %% tags=["core"]
inputs = pixels.reshape(len(pixels), -1) / 255
aside = (splits.grouped(index, seed=seed)["part"] == "validation") & (index["split"] == "train")
learn = (index["split"] == "train") & ~aside
neuron = pipeline.make_pipeline(preprocessing.StandardScaler(), linear_model.LogisticRegression(C=0.001))
answers = neuron.fit(inputs[learn], index["label"][learn]).predict_proba(inputs)[:, 1]

# %% [markdown] tags=["core"]
# Now ask it about the 16 chests of `val`, which are new to it. A probability of .5 or more counts as PNEUMONIA.
#
# **Predict, then run**: which share of the 16 does it get right?

# %% tags=["core", "guess", "slide"]
share_of_16 = None  # your guess: a share from 0 to 1

# %% tags=["core", "answer", "slide"]
right, val, test = (answers >= 0.5) == index["label"], index["split"] == "val", index["split"] == "test"
chests = index[val].groupby("label").head(4)
titles = [f"{kind}\nanswer {answers[row]:.2f}" for row, kind in chests["kind"].items()]
lessons.compare(f"The share right of {val.sum()} images never seen before", share_of_16, right[val].mean(), within=0.05)
grid = plots.image_grid([images.read(folder / name) for name in chests["path"]], titles=titles)
plots.show(grid, alt="Four normal chests with low probabilities of pneumonia, and four ill ones with high ones")

# %% [markdown] tags=["core", "slide"]
# **How to read it**: eight of the 16 chests. A title says what was drawn, and the probability that the network gave. In
# the upper row less than .50 is right, in the lower row .50 or more.
#
# Such a slide wins applause. Is it true?
#
# ## Three questions
#
# **How sure is it?** The patients kept aside are more than 16.
#
# **Does it know the disease?** A second neuron gets *only the edge*, four pixels wide, with hardly any lung in it.
#
# **Does it hold elsewhere?** The pictures of `test` differ from `train` in brightness and cropping; in the real dataset
# they seem to, too (lesson 6).

# %% tags=["core"]
edge = inputs[:, np.pad(np.zeros((40, 40)), 4, constant_values=1).ravel() == 1]
edge_right = (neuron.fit(edge[learn], index["label"][learn]).predict_proba(edge)[:, 1] >= 0.5) == index["label"]

# %% [markdown] tags=["core"]
# **Predict, then run**: which share of `test` does the first network, which sees all, get right?

# %% tags=["core", "guess", "slide"]
share_of_test = None  # your guess: a share from 0 to 1

# %% tags=["core", "answer", "slide"]
asked = {f"the {val.sum()} of val": val, f"{aside.sum()} of patients kept aside": aside, f"{test.sum()} of test": test}
shares = {}
for network, correct in {"sees all": right, "sees the edge": edge_right, "always PNEUMONIA": index["label"] == 1}.items():
    counted = [stats.binomtest(int(correct[rows].sum()), int(rows.sum())) for rows in asked.values()]
    bounds = [(one.statistic, *one.proportion_ci()) for one in counted]
    shares[network] = pd.DataFrame(bounds, index=asked, columns=["value", "low", "high"])
lessons.compare("The share right in test", share_of_test, right[test].mean())
plots.show(plots.intervals(shares, label="share right"),
           alt="Shares right: near 1 on the 16 and on patients kept aside, far lower in test")

# %% [markdown] tags=["core"]
# **How to read it**: a row is a set of images, a point the share of right answers. The bar is its
# [confidence interval](glossary.md#confidence-interval): what the share may truly be, given so many images.
#
# - **Sixteen are few.** With all 16 right, the bar still reaches down to about .8.
# - **The edge tells much.** On `val` the second network is far above *always PNEUMONIA*.
#   [Exposure](glossary.md#exposure) and borders go with the class here: a [shortcut](glossary.md#shortcut). The patients
#   kept aside can't uncover it: their pictures were taken in the same manner.
# - **Elsewhere it falls.** In `test` the edge is hardly above *always PNEUMONIA*, and the whole picture not much. Where
#   is the first network wrong?

# %% tags=["core", "slide"]
index[test].assign(right=right).groupby("kind")["right"].agg(["size", "mean"]).round(2)

# %% [markdown] tags=["core"]
# It finds nearly all of the ill. But it calls most of the *healthy* ill. Test pictures are exposed and cropped
# otherwise: a healthy one there differs from a healthy one in training much as an ill one does. (Brightness alone is
# only a small part of it.)
#
# Nobody lied. The figure is true of those 16 images, not of what we wanted to know.
#
# ## What went wrong in published work
#
# Of five published projects, three looked at the test images after each round of training. In one, two figures are not
# measured: somebody typed them (lesson 7). On children from elsewhere, the [AUC](glossary.md#auc) of a network trained on these children
# fell from .95 to .54; 1 is perfect, .5 a coin toss (lesson 6;
# [Xin and others, 2021](https://doi.org/10.1007/s10140-021-01954-x)).

# %% tags=["core"]
lessons.score()

# %% [markdown] tags=["core"]
# ## What to remember
#
# - A figure needs its set, its number of images and its interval.
# - Ask what a network *could* have learned besides the disease, and measure that too.
# - Good on patients kept aside is not yet good elsewhere.
#
# ## The way on
#
# | question | answered in |
# | --- | --- |
# | Whose images are these? | [1. Download](01_download.ipynb) |
# | What could a network learn by mistake? | [2. Explore](02_explore.ipynb) |
# | What leaks? What do 16 images tell? | [3. Preprocess](03_preprocess.ipynb) |
# | How does a larger network learn? | [4. Train](04_train.ipynb) |
# | Better, or luck? | [5. Improve](05_improve.ipynb) |
# | How good, how sure, and in test? | [6. Evaluate](06_evaluate.ipynb) |
# | What are published figures worth? | [7. Replicate](07_replicate.ipynb) |
# | Where does a network look? | [8. Explain and predict](08_explain_and_predict.ipynb) |

# %% [markdown] tags=["further"]
# ## Five questions
#
# For whoever wants to know what stayed. Write your letters in place of the dots, in quotes and with commas, such as
# `"a", "c", ..., "b", "a"`, and run the cell again: it says why.

# %% tags=["further", "nbval-check-output"]
lessons.quiz("00", ...)
