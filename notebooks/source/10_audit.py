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
# # 10. Audit: is it true?
#
# **You will be able to** audit a program that somebody, or an assistant, wrote: by a tool, by reading, and by a run of your
# own; and give a verdict with reasons.
#
# **Before you start**: [6. Evaluate](06_evaluate.ipynb) and [7. Replicate](07_replicate.ipynb).
#
# **Minutes**: counted when this is built

# %% tags=["parameters", "core"]
# None: what course.toml beside this lesson says. The images are the drawn ones here, whatever it says.
source = None
path = None
data_dir = None
run_dir = None
profile = None
seed = None

# %% tags=["core"]
import nbformat
import numpy as np
import pandas as pd

from cxr_utils import audit, course, dataset, evaluation, images, plots, recipes, sources, splits, training
from cxr_utils.course import exercises, lessons
from cxr_utils.replication import auditor

_, _, data_dir, run_dir, _, seed = lessons.chosen(source, path, data_dir, run_dir, profile, seed)
settings = course.profile("sample")
plots.style("sample", data_dir)
pd.options.display.max_colwidth = None  # show long cells whole

# %% [markdown] tags=["core"]
# *PneumoNet* is invented. Its notebook looks as an assistant writes one: it is short and tidy, and it runs. It reports an
# accuracy that would make it one of the best. Read it first.

# %% tags=["core"]
notebook = lessons.assistant()
for number, cell in enumerate(nbformat.read(notebook, as_version=4).cells):
    print(f"--- cell {number}\n{cell.source}\n")

# %% [markdown] tags=["core"]
# **Predict, then run**: how many of the ten mistakes of this course are in it?

# %% tags=["guess", "core"]
mistakes_guess = None  # your guess: a number from 0 to 10

# %% tags=["answer", "core"]
found = pd.DataFrame(auditor.audit(notebook)).set_index("mistake")
count = (found["result"] == auditor.FOUND).sum()
lessons.compare("Mistakes that the tool finds", mistakes_guess, count)
found.loc[found["result"] == auditor.FOUND, ["place", "says", "lesson"]]

# %% [markdown] tags=["core"]
# The tool reads the program and never runs it. It follows names: `x_val` holds the images of the folder `test`, whatever it
# is called. In a terminal the same is `cxr audit FILE`.
#
# ## What no tool sees
#
# What a tool does not find may still be there. One mistake of PneumoNet is of no kind that it knows.
#
# ### Exercise 10.1
#
# In which cell are the two classes treated differently, so that a network could tell them apart without any lesion?

# %% tags=["exercise", "core"]
cell_number = ...  # replace the dots by the cell's number

# %% tags=["solution", "core"]
cell_number = 3

# %% tags=["check", "core"]
exercises.check("10.1", cell_number)

# %% [markdown] tags=["core"]
# ## A run of our own
#
# Two trainings tell what that cell is worth. Both are split by patient, validate on patients of train, and open test once.

# %% tags=["core"]
folder = sources.fetch("sample", data_dir=data_dir, progress=True)
index = dataset.scan(folder)
plain = recipes.get("plain_224").but(augmentation=None).at(image_size=settings.image_size, width=settings.width)
whole = images.cache(index, folder, size=plain.image_size)
split = splits.grouped(index, seed=seed)

# %% [markdown] tags=["core"]
# For the first network every PNEUMONIA picture is cropped, as PneumoNet does. For the second all pictures are.

# %% tags=["core"]
edge = plain.image_size // 10
inner = whole[:, edge:-edge, edge:-edge, 0]
cropped = np.stack([images.resize(picture, plain.image_size) for picture in inner])[..., None]
ill = (index["label"] == 1).to_numpy()
ways = {"only PNEUMONIA cropped": np.where(ill[:, None, None, None], cropped, whole), "all cropped": cropped}

# %% [markdown] tags=["core"]
# Nothing else differs: the same patients, the same layers, the same seed.

# %% tags=["core"]
how = {"seed": seed, "image_source": "sample", "beside": True, "progress": True}
answers = {}
for number, (name, pixels) in enumerate(ways.items()):
    run = training.fit(plain, pixels, split, run_dir=f"{run_dir}/audit-{number}-s{seed}", epochs=settings.epochs, **how)
    answers[name] = evaluation.predict(run, pixels, split, parts=["test"])

# %% [markdown] tags=["core"]
# **Predict, then run**: which AUC on test has the network for which only PNEUMONIA was cropped?

# %% tags=["guess", "core"]
cropped_guess = None  # your guess: from 0.5 (chance) to 1

# %% tags=["answer", "core"]
tests = {name: evaluation.bootstrap(table, draws=500, seed=seed) for name, table in answers.items()}
lessons.compare("AUC, only PNEUMONIA cropped", cropped_guess, tests["only PNEUMONIA cropped"].loc["auc", "value"])
plots.show(plots.intervals(tests, metrics=["auc", "accuracy", "specificity"]),
           alt="AUC, accuracy and specificity on test of both networks, with 95% intervals")

# %% [markdown] tags=["core"]
# **How to read it**: the upper row looks splendid, and it is an honest figure of a network that reads the crop. For a child
# in a clinic nobody knows beforehand whether to crop. The lower row is what is left.
#
# ## Where does the rest come from?
#
# A crop leaves a trace that needs no network. Eight statistics of the picture, as in
# [notebook 2](02_explore.ipynb), tell how well one could guess:

# %% tags=["core"]
traces = audit.shortcuts(index, ways["only PNEUMONIA cropped"], seed=seed)
plots.show(plots.shortcut_bars(traces), alt="Accuracy of always PNEUMONIA and of eight statistics of the cropped pictures")

# %% [markdown] tags=["core"]
# **How to read it**: each bar is an accuracy; trees that see nothing but eight numbers of a picture, such as its brightness,
# reach the last one. In lesson 2, without the crop, they got less.
#
# ### Exercise 10.2
#
# A verdict on a claim needs no proof of the opposite. It can say that nothing shown so far shows it.
#
# Give the verdict on the sentence *PneumoNet finds pneumonia with an accuracy of 97.4%*: one of `verdicts`. And name the
# `reasons` of the tool that could raise a figure **on test**, as its notebook measures it: their names in `found`.

# %% tags=["core"]
verdicts = ["true", "false", "not shown"]

# %% tags=["exercise", "core"]
verdict, reasons = ..., ...  # replace the dots by a word, and by a set of names

# %% tags=["solution", "core"]
verdict, reasons = "not shown", {"test_validates", "typed_figure"}

# %% tags=["check", "core"]
exercises.check("10.2", verdict, reasons, verdicts=verdicts)

# %% [markdown] tags=["core"]
# Here is how many of your guesses came true.

# %% tags=["core"]
lessons.score()

# %% [markdown] tags=["core"]
# ## What went wrong in published work
#
# Two readers went through 116 public programs that train on this dataset, and so did the tool. They were found by the names
# of their repositories, and in the first sixty rare mistakes were sought on purpose: this is no sample of all. In about two
# of three of them test images or the 16 images of `val` validate. [Before you publish](before_you_publish.md) has the
# counts, and how often the tool was right.
#
# ## A rubric for a verdict
#
# | | not yet | good | very good |
# | --- | --- | --- | --- |
# | what was read | the summary | all code, with the tool | also what the tool can't see |
# | each mistake | is named | has its place | has the figure that it can fake |
# | a run of one's own | none | honest, on test once | with an interval, and what is left of the claim |
# | the verdict | right or wrong | *not shown*, where nothing shows it | says what would show it |

# %% [markdown] tags=["further"]
# ## Your own work
#
# [Before you publish](before_you_publish.md) has ten lines that you can hold against it. Let the tool read it, too: write
# the path of a notebook or script of yours in the place of `notebook`.

# %% tags=["further"]
mine = notebook  # a path of your own, such as pathlib.Path("train.py")
pd.DataFrame(auditor.audit(mine))[["mistake", "result", "place"]]

# %% [markdown] tags=["core"]
# ## What to remember
#
# - A name is no proof: follow it to the folder.
# - A tool finds what it knows. What treats the classes differently before the network sees them, it does not know.
# - *Not shown* is a verdict. Say what would show it.
#
# This was the last lesson. The way on: replicate a system with `cxr replicate`, or audit a paper with the page
# [Before you publish](before_you_publish.md).

# %% [markdown] tags=["further"]
# ## Five questions
#
# For whoever wants to know what stayed. Write your letters in place of the dots, in quotes and with commas, such as
# `"a", "c", ..., "b", "a"`, and run the cell again: it says why.

# %% tags=["further", "nbval-check-output"]
lessons.quiz("10", ...)
