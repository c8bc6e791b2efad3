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
# # 1. Download: know where your data come from
#
# **You will be able to** say where the images come from and who made them, fetch them from any of four sources, count with
# their [index](glossary.md#index), and say what a chest radiograph can and can't tell about pneumonia.
#
# **Before you start**: a little Python: variables, lists, calling a function. No medicine, no machine learning.
#
# **Minutes**: counted when this is built
#
# > **Not a medical device.** This course is for teaching and research. Nothing in it may be used to diagnose
# > or treat anyone.

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

from cxr_utils import course, dataset, images, plots, sources
from cxr_utils.course import exercises, lessons

pd.options.display.max_colwidth = None  # show long cells whole
source, path, data_dir, run_dir, profile, seed = lessons.chosen(source, path, data_dir, run_dir, profile, seed)
plots.style(source, data_dir)

# %% [markdown] tags=["core"]
# ## Four sources, one layout
#
# | source | what you get | needs |
# | --- | --- | --- |
# | `sample` | 720 [phantoms](glossary.md#phantom): drawings of chest radiographs, made on your computer | nothing |
# | `folder` | the real images, from a folder or archive you have | the files |
# | `kaggle` | the real images, 5,856 files, a download of 2.3 GB | the internet, perhaps a Kaggle account |
# | `medmnist` | the real images cropped and shrunk to 224 px, patients unknown [1] | the internet |
#
# You choose in `course.toml`, beside this lesson. If you change nothing, it is `sample`. (Keep a Kaggle
# token out of notebooks.)
#
# Every source fills the same folders, one for each [split](glossary.md#split) and class.

# %% tags=["core"]
folder = sources.fetch(source, data_dir=data_dir, path=path, progress=True)
sorted(f"{found.parent.name}/{found.name}" for found in folder.glob("chest_xray/*/*/"))

# %% [markdown] tags=["core"]
# ## Who made the real dataset
#
# The images are front views of the chests of children aged one to five, taken in routine care at one hospital
# in Guangzhou, China.
# Unreadable images were removed, two physicians graded the rest, and a third checked the [test
# set](glossary.md#test-set) [2, 3].
# The licence, CC BY 4.0, lets you share and change them if you name the authors:

# %% tags=["core", "nbval-check-output"]
record = dataset.RECORD
print(record.title, record.citation, record.licence, sep="\n")

# %% [markdown] tags=["core"]
# ## One row an image
#
# What does the file name `person23_bacteria_85.jpeg` tell?

# %% tags=["core", "nbval-check-output"]
dataset.parse_name("person23_bacteria_85.jpeg")

# %% [markdown] tags=["core"]
# A patient and a [kind](glossary.md#kind): normal, bacteria or virus. The last number counts images.
# `scan` reads every name and file header into the [index](glossary.md#index), the table that all else
# starts from. Its `label` is 0 for NORMAL ([negative](glossary.md#positive-and-negative)) and 1 for PNEUMONIA (positive).
# `sha256` is a fingerprint of the file; `mode` says grey or colour (lesson 2).

# %% tags=["core"]
index = dataset.scan(folder)
index.assign(sha256=index["sha256"].str[:8]).sample(5, random_state=seed)

# %% [markdown] tags=["core"]
# **Predict, then run**: which share of the real dataset's images shows PNEUMONIA?

# %% tags=["core", "guess"]
share_ill = None  # your guess: a share from 0 to 1

# %% tags=["core", "answer", "nbval-check-output"]
real = pd.DataFrame(record.counts).sum(axis="columns")
lessons.compare("The share in the real dataset", share_ill, real["PNEUMONIA"] / real.sum())
dataset.counts(index)

# %% [markdown] tags=["core"]
# This share says how the images were picked, not how common pneumonia is.
#
# The table counts your images. Are all there?

# %% tags=["core", "nbval-check-output"]
dataset.count_differences(index)

# %% [markdown] tags=["core"]
# Each line is a difference. The sample is small on purpose; the real images should have none.

# %% [markdown] tags=["further"]
# ### A warm-up in pandas
#
# Five moves with a table come back in all lessons. First the *mask*: a comparison gives True or False for each row. `&`
# is "and", `|` is "or", `~` is "not", and each side stands in brackets. A mask picks rows, and its sum counts them.

# %% tags=["further", "nbval-check-output"]
in_test = index["split"] == "test"
large = in_test & (index["width"] > 600)
print(in_test.sum(), large.sum(), len(index[large]))

# %% [markdown] tags=["further"]
# `.loc[rows, column]` picks both at once. `.value_counts()` counts how often each value occurs:

# %% tags=["further", "nbval-check-output"]
index.loc[in_test, "kind"].value_counts()

# %% [markdown] tags=["further"]
# `.groupby(column)` cuts the table into one part for each value, and computes the same for each part. The mean of labels 0
# and 1 is the share of 1:

# %% tags=["further", "nbval-check-output"]
index.groupby("split")["label"].mean().round(2)

# %% [markdown] tags=["further"]
# `.isin(values)` asks of each row whether its value is among others. Here: which share of the test images is of a
# patient number that occurs in `train`, too?

# %% tags=["further", "nbval-check-output"]
in_train = index.loc[index["split"] == "train", "patient"]
print(f"{index.loc[in_test, 'patient'].isin(in_train).mean():.2f}")

# %% [markdown] tags=["further"]
# One can also walk through the parts of a `groupby`: each has a name and a table. `{name: value for …}` gathers one value of
# each in a dictionary:

# %% tags=["further", "nbval-check-output"]
{kind: int(rows["width"].median()) for kind, rows in index.groupby("kind")}

# %% [markdown] tags=["core"]
# ### Exercise 1.1
#
# How many *viral* images, those whose `kind` is `virus`, has the train split? `index["split"] == "train"` says True or
# False for each row, `&` joins two such comparisons, each in round brackets ( ), and `.sum()` counts what is True. (New to
# you? First do *A warm-up in pandas*, above.)

# %% tags=["exercise", "core"]
viral = ...  # replace the dots

# %% tags=["solution", "core"]
viral = ((index["split"] == "train") & (index["kind"] == "virus")).sum()

# %% tags=["check", "core"]
exercises.check("01.1", viral, index=index)

# %% [markdown] tags=["further"]
# ### The small file beside the folders
#
# It says what was fetched, who made it, and what you may do with it. Archives hold rubbish too: system files, a second
# nested copy of everything. What `fetch` leaves out is listed there. `scan` passes over system files. An image that it
# can't read goes to the [quarantine](glossary.md#quarantine), with the reason.

# %% tags=["further"]
about = sources.describe(folder)
pd.Series(about).loc[["title", "licence", "attribution", "synthetic"]].to_frame("here")

# %% tags=["further"]
print(f"left out on the way in: {len(about['left_out'])} names")
print(f"in quarantine: {len(dataset.quarantine(folder))} images")

# %% [markdown] tags=["further"]
# ### Exercise 1.2
#
# How many images does the dataset's own record add up to? Use `dataset.RECORD.counts`, a dictionary of
# dictionaries.

# %% tags=["exercise", "further"]
total = ...  # replace the dots

# %% tags=["solution", "further"]
total = sum(sum(classes.values()) for classes in dataset.RECORD.counts.values())

# %% tags=["check", "further"]
exercises.check("01.2", total)

# %% [markdown] tags=["core"]
# ## What pneumonia is
#
# Pneumonia is an infection of the lungs: the air sacs fill with pus and fluid, so breathing hurts and less
# oxygen comes in [4].
# Bacteria, viruses and fungi cause it [4].
#
# - **Symptoms**: cough and hard breathing, often fever. Under five, doctors look for fast breathing or a chest
#   wall that draws in [4].
# - **At risk**: undernourished children, babies who are not fed on breast milk alone, children with HIV or
#   measles, children in crowded or smoky homes [4].
# - **Prevention**: vaccines, good food, breastfeeding, clean air at home [4].
# - **Deaths**: about 740,000 children under five in 2019, 14% of all deaths at that age [4, 5].

# %% [markdown] tags=["core"]
# ## What a radiograph *can* show
#
# Air is dark, bone and fluid are light. A normal lung is clear [2]. In each picture find the dark lungs, the heart (the
# light shape between them) and the diaphragm (the light dome below each).

# %% tags=["core"]
train = index[index["split"] == "train"]
healthy = train[train["label"] == 0].sample(4, random_state=seed)
pictures = [images.read(folder / name) for name in healthy["path"]]
grid = plots.image_grid(pictures, titles=["NORMAL"] * 4, columns=4)
plots.show(grid, alt="Four normal chests: dark, clear lungs beside a light heart")

# %% [markdown] tags=["core"]
# **How to read it**: the child faces you, so the picture's left is the child's right. In such
# [AP views](glossary.md#ap-view) the heart looks larger than it is [11]. The white wedge above
# the heart can be the [thymus](glossary.md#thymus): large and normal at this age, and easily taken for disease [6].
#
# Bacterial pneumonia *can* show as one dense patch, a [consolidation](glossary.md#consolidation); viral
# pneumonia *can* show as [interstitial](glossary.md#interstitial-pattern) streaks in both lungs [2].
# Where did the dark go in the next four?

# %% tags=["core"]
chosen = train[train["label"] == 1].groupby("kind").sample(2, random_state=seed)
pictures = [images.read(folder / name) for name in chosen["path"]]
titles = [f"PNEUMONIA, {kind}" for kind in chosen["kind"]]
grid = plots.image_grid(pictures, titles=titles, columns=4)
plots.show(grid, alt="Four chests with pneumonia: parts of the lungs are light, in patches or in streaks")

# %% [markdown] tags=["core"]
# **How to read it**: look for what is light and should be dark: a patch on one side, or streaks on both.
#
# ### Can and can't
#
# Patch or streaks: that is the caption of one published figure, not a rule. A review finds that chest radiographs
# cannot distinguish viral from bacterial infection [7].
# Two guidelines say that a child well enough to be treated at home needs no radiograph [8, 9].
# Six radiologists agreed well on dense patches (agreement, called kappa, .69; 1 is perfect, 0 chance) and hardly on interstitial
# change (.14) [10].
# So expect wrong labels among real images. How `kind` was found out was never published.
#
# **What drawings can't teach**: phantoms follow that caption because a program drew them so. A network that reads them
# has learned nothing about children.
#
# Now read six other pictures yourself.

# %% tags=["core"]
unseen = train.drop([*healthy.index, *chosen.index])
quiz = unseen.sample(6, weights=unseen["label"].map({0: 3, 1: 1}), random_state=seed)
pictures = [images.read(folder / name) for name in quiz["path"]]
titles = list("123456")
plots.show(plots.image_grid(pictures, titles=titles, columns=3), alt="Numbered chests to be read without labels")

# %% [markdown] tags=["core"]
# **How to read it**: each side by itself, from the top to the diaphragm. Mind the thymus.
#
# **Predict, then run**: which of the six show pneumonia?

# %% tags=["core", "guess"]
with_pneumonia = None  # your guess: a list of numbers, such as [1, 4]

# %% tags=["core", "answer"]
ill = [number for number, label in enumerate(quiz["label"], start=1) if label == 1]
lessons.compare("With pneumonia", with_pneumonia, ill)
pd.DataFrame([quiz["kind"].to_list()], columns=titles, index=["what it is"])

# %% [markdown] tags=["core"]
# Did you call a NORMAL ill? The thymus and the edge of the heart are light, too.
#
# ## What went wrong in published work
#
# Popular projects describe the dataset or the disease wrongly:
#
# | they say | in fact |
# | --- | --- |
# | 4,538 images (system 000, `plain_64`) | 5,856 |
# | patients are children *and adults* (system 001, `batchnorm_224`) | children of one to five years [3] |
# | 2.3 million children under five died of pneumonia in 2020, 14% of all deaths at that age (system 004, `plain_224`) | see below |
#
# **Predict, then run**: all causes together killed 5.30 million children under five in 2019 [5]. Which share
# would 2.3 million be?

# %% tags=["core", "guess"]
share_of_deaths = None  # your guess: a share from 0 to 1

# %% tags=["core", "answer", "nbval-check-output"]
lessons.compare("The share of all deaths", share_of_deaths, 2.3 / 5.30)

# %% [markdown] tags=["core"]
# Against the 14% published, it is three times as much. A similar figure, 2.38 million, is an estimate for people of *all ages* in 2016;
# 0.65 million of them were under five [12]. Give year and method with each figure.

# %% [markdown] tags=["further"]
# We were wrong as well. System 004 counts 1,431 NORMAL images in train, where this dataset has 1,341. We took that for
# swapped digits. But a file beside its notebook names *another upload* of the images, and there the count is right. Find
# the source before you accuse: [its page](../results/systems/004.md) has our correction.

# %% [markdown] tags=["core"]
# ## Beside the real images

# %% tags=["core"]
facts = {"images": len(index), "share of PNEUMONIA": round(float(index["label"].mean()), 3),
         "patient groups": int(index["patient"].nunique())}
course.beside_real("01_download", facts, run_dir=run_dir, source=source)

# %% tags=["core"]
lessons.score()

# %% [markdown] tags=["core"]
# ## What to remember
#
# - One layout, one index table with one row an image.
# - Count, and compare with the record, before anything else.
# - Children of one to five, one hospital: that is all that these images can speak for.
# - Radiographs don't tell virus from bacteria reliably [7], and readers differ [10].
# - Phantoms teach the method, not medicine.
#
# Next: [2. Explore](02_explore.ipynb) looks for what a network could learn by mistake.

# %% [markdown] tags=["further"]
# ## Five questions
#
# For whoever wants to know what stayed. Write your letters in place of the dots, in quotes and with commas, such as
# `"a", "c", ..., "b", "a"`, and run the cell again: it says why.

# %% tags=["further", "nbval-check-output"]
lessons.quiz("01", ...)

# %% [markdown] tags=["further"]
# ## References
#
# 1. Yang et al., MedMNIST v2, 2023.
#    [doi:10.1038/s41597-022-01721-8](https://doi.org/10.1038/s41597-022-01721-8)
# 2. Kermany et al., Identifying medical diagnoses and treatable diseases by image-based deep learning, Cell
#    172:1122, 2018. [doi:10.1016/j.cell.2018.02.010](https://doi.org/10.1016/j.cell.2018.02.010)
# 3. Kermany, Zhang, Goldbaum, the dataset, version 2, 2018.
#    [doi:10.17632/rscbjbr9sj.2](https://doi.org/10.17632/rscbjbr9sj.2)
# 4. WHO, Pneumonia in children, fact sheet, 2022.
#    [who.int](https://www.who.int/news-room/fact-sheets/detail/pneumonia)
# 5. Perin et al., Causes of under-5 mortality in 2000–19, 2022.
#    [doi:10.1016/S2352-4642(21)00311-4](https://doi.org/10.1016/S2352-4642%2821%2900311-4)
# 6. Khan et al., The many facets of normal paediatric thymus, 2015.
#    [doi:10.4102/sajr.v19i1.803](https://doi.org/10.4102/sajr.v19i1.803)
# 7. O'Grady et al., The radiological diagnosis of pneumonia in children, 2014.
#    [PMC5922330](https://pmc.ncbi.nlm.nih.gov/articles/PMC5922330/)
# 8. Harris et al., British Thoracic Society guideline, 2011.
#    [doi:10.1136/thoraxjnl-2011-200598](https://doi.org/10.1136/thoraxjnl-2011-200598)
# 9. Bradley et al., PIDS and IDSA guideline, 2011.
#    [doi:10.1093/cid/cir531](https://doi.org/10.1093/cid/cir531)
# 10. Neuman et al., Variability in the interpretation of chest radiographs, 2012.
#     [doi:10.1002/jhm.955](https://doi.org/10.1002/jhm.955)
# 11. King's College London, Radiographic views, undated.
#     [kcl.ac.uk](https://ehealth.kcl.ac.uk/tel/radiology/CXR/02-radiographic-views.html)
# 12. Troeger et al., Lower respiratory infections in 195 countries, 1990–2016, 2018.
#     [doi:10.1016/S1473-3099(18)30310-4](https://doi.org/10.1016/S1473-3099%2818%2930310-4)
