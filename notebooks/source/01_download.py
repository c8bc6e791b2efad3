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
# **You will be able to** fetch the dataset from any of four sources, say who made it and under which licence,
# read its [index](glossary.md#index), and say what a chest radiograph can and can't tell about pneumonia.
#
# **Before you start**: a little Python and pandas. No medicine, no machine learning.
#
# **Minutes**: counted when this is built
#
# > **Not a medical device.** This course is for teaching and research. Nothing in it may be used to diagnose
# > or treat anyone.

# %% tags=["parameters", "core"]
# None: what course.toml beside this lesson says, or else the sample. Kernel: the Python of .venv.
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
# Kaggle may ask for an account. Make an API token in your Kaggle settings and save it where that page says.
# Keep it out of notebooks: who has the token can act as you.
#
# If a download breaks, run the cell again: Kaggle's resumes where it stopped, PneumoniaMNIST's starts anew. If
# nothing can be reached, set `source` to `"sample"` and go on.
#
# Every source fills the same folders, so the rest of the course never asks which one you chose.
#
# **Predict, then run**: three [splits](glossary.md#split), two classes. How many folders hold images?

# %% tags=["core"]
downloads = source in ("kaggle", "medmnist")
folder = sources.fetch(source, data_dir=data_dir, path=path, progress=downloads)
sorted(f"{found.parent.name}/{found.name}" for found in folder.glob("chest_xray/*/*/"))

# %% [markdown] tags=["core"]
# Six. Beside them lies a small file that says what was fetched. Read it first: who made the data, and what
# may you do with them?

# %% tags=["core"]
about = sources.describe(folder)
pd.Series(about).loc[["title", "licence", "attribution", "synthetic"]].to_frame("here")

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
for fact in (record.title, record.citation, record.licence):
    print(fact)

# %% [markdown] tags=["core"]
# ## One row an image
#
# The file name carries more than you may think.
#
# **Predict, then run**: what does `person23_bacteria_85.jpeg` tell?

# %% tags=["core", "nbval-check-output"]
dataset.parse_name("person23_bacteria_85.jpeg")

# %% [markdown] tags=["core"]
# A patient and a [kind](glossary.md#kind): normal, bacteria or virus. The last number counts images.
# `scan` reads every name and file header into the [index](glossary.md#index), the table that all else
# starts from. Its `label` is 0 for NORMAL and 1 for PNEUMONIA.

# %% tags=["core"]
index = dataset.scan(folder)
index.assign(sha256=index["sha256"].str[:8]).sample(5, random_state=seed)

# %% [markdown] tags=["core"]
# **Predict, then run**: is it all there? Compare the counts with the dataset's record before you trust them.

# %% tags=["core", "nbval-check-output"]
dataset.counts(index)

# %% tags=["core", "nbval-check-output"]
dataset.count_differences(index)

# %% [markdown] tags=["core"]
# Each line of the second output is a difference. The sample is small on purpose; the real images should have none.
#
# ### Exercise 1
#
# How many *viral* images has the train split? Count rows of `index`.

# %% tags=["exercise", "core"]
viral = ...  # replace the dots

# %% tags=["solution", "core"]
viral = ((index["split"] == "train") & (index["kind"] == "virus")).sum()

# %% tags=["check", "core"]
exercises.check("01.1", viral, index=index)

# %% [markdown] tags=["further"]
# Archives hold rubbish too: system files, a second nested copy of everything. What `fetch` leaves out it lists in
# the small file beside the folders.
# `scan` passes over system files. An image that it can't read goes to the [quarantine](glossary.md#quarantine),
# with the reason.

# %% tags=["further"]
print(f"left out on the way in: {len(about['left_out'])} names")
print(f"passed over by scan: {len(list(folder.rglob('.DS_Store')))} system files")
print(f"in quarantine: {len(dataset.quarantine(folder))} images")

# %% [markdown] tags=["core"]
# ## What pneumonia is
#
# Pneumonia is an infection of the lungs: the air sacs fill with pus and fluid, so breathing hurts and less
# oxygen comes in [4].
# Bacteria, viruses and fungi cause it [4].
#
# **Symptoms**: cough and hard breathing, often fever. Under five, doctors look for fast breathing or a chest
# wall that draws in [4].
#
# **At risk**: undernourished children, babies who are not fed on breast milk alone, children with HIV or
# measles, children in crowded or smoky homes [4].
#
# **Prevention**: vaccines (Hib, pneumococcus, measles, whooping cough), good food, breastfeeding, clean air
# at home [4].
#
# **Deaths**: about 740,000 children under five in 2019, 14% of all deaths at that age [4, 5].

# %% [markdown] tags=["core"]
# ## What a radiograph *can* show
#
# Where X-rays pass easily the picture is dark: air is dark, bone and fluid are light.
# A normal lung is clear [2]. **Predict, then run**: in each picture, find the dark lungs, the heart (the light
# shape between them) and the diaphragm (the light dome below each).

# %% tags=["core"]
train = index[index["split"] == "train"]
chosen = train[train["label"] == 0].sample(4, random_state=seed)
pictures = [images.read(folder / name) for name in chosen["path"]]
grid = plots.image_grid(pictures, titles=["NORMAL"] * 4, columns=2, height=3)
plots.show(grid, alt="Four normal chests: dark, clear lungs beside a light heart")

# %% [markdown] tags=["core"]
# **How to read it**: the child faces you, so the picture's left is the child's right. The white wedge above
# the heart can be the [thymus](glossary.md#thymus): large and normal at this age, and easily taken for disease [6].
# On the sample these are drawings, and the figure says so.
#
# Bacterial pneumonia *can* show as one dense patch, a [consolidation](glossary.md#consolidation); viral
# pneumonia *can* show as [interstitial](glossary.md#interstitial-pattern) streaks in both lungs [2].
# Compare the next four with the four above. Where did the dark go?

# %% tags=["core"]
chosen = train[train["label"] == 1].groupby("kind").sample(2, random_state=seed)
pictures = [images.read(folder / name) for name in chosen["path"]]
titles = [f"PNEUMONIA, {kind}" for kind in chosen["kind"]]
grid = plots.image_grid(pictures, titles=titles, columns=2, height=3)
plots.show(grid, alt="Four chests with pneumonia: parts of the lungs are light, in patches or in streaks")

# %% [markdown] tags=["core"]
# ### Can and can't
#
# That pattern is the caption of one published figure, not a rule. A review finds that chest radiographs
# cannot distinguish viral from bacterial infection [7].
# Two guidelines say that a child well enough to be treated at home needs no routine radiograph [8, 9].
# Readers differ as well. Six radiologists agreed well on dense patches (kappa .69; 1 is perfect, 0 is chance)
# and hardly on interstitial change (.14) [10].
# So expect wrong labels among real images. How `kind` was found out was never published.
#
# These are [AP views](glossary.md#ap-view), with the beam from front to back. The heart lies far from the
# detector and looks larger than it is [11].

# %% [markdown] tags=["core"]
# ### What drawings can't teach
#
# Phantoms follow that caption because a program drew them so; real disease need not [7]. Real pictures also
# show tubes, cables and children who moved.
# A network that reads phantoms has learned our program and nothing about children. Use them to learn the
# *method*.
#
# ### Exercise 2
#
# Read these pictures yourself. Which show pneumonia? Mind the thymus.

# %% tags=["core"]
quiz = train.groupby("kind").sample(2, random_state=seed + 1).sample(frac=1, random_state=seed)
pictures = [images.read(folder / name) for name in quiz["path"]]
titles = list("123456")[: len(quiz)]
plots.show(plots.image_grid(pictures, titles=titles, columns=3), alt="Numbered chests to be read without labels")

# %% tags=["exercise", "core"]
with_pneumonia = ...  # a list of numbers, such as [1, 4]

# %% tags=["solution", "core"]
with_pneumonia = [number for number, label in enumerate(quiz["label"], start=1) if label == 1]

# %% tags=["check", "core"]
exercises.check("01.2", with_pneumonia, quiz=quiz)

# %% [markdown] tags=["core"]
# ## What went wrong in published work
#
# Popular projects on this dataset describe it wrongly:
#
# | they say | in fact |
# | --- | --- |
# | 4,538 images (system 000, `plain_64`) | 5,856 |
# | patients are children *and adults* (system 001, `batchnorm_224`) | children of one to five years [3] |
# | 2.3 million children under five died of pneumonia in 2020, 14% of all deaths at that age (system 004, `plain_224`) | see below |
#
# **Predict, then run**: all causes together killed 5.30 million children under five in 2019 [5]. Which share
# would 2.3 million be?

# %% tags=["core", "nbval-check-output"]
print(f"{2.3 / 5.30:.0%} of all deaths, against the 14% published")

# %% [markdown] tags=["core"]
# Three times the published share: 2.3 million can't be the 14% beside it. A similar figure, 2.38 million, is an
# estimate for people of *all ages* in 2016; 0.65 million of them were under five [12].
# Estimates differ by year and method, so give both with each figure.
#
# Whoever writes such a table can be wrong as well, and we were. System 004 counts 1,431 NORMAL images in train, where
# this dataset has 1,341. That looks like swapped digits, and we said so. But a file beside its notebook names *another
# upload* of the images, and there the count is right. So find the source before you accuse:
# [its page](../results/systems/004.md) has our correction.

# %% [markdown] tags=["further"]
# ### Exercise 3
#
# How many images does the dataset's own record add up to? Use `dataset.RECORD.counts`, a dictionary of
# dictionaries.

# %% tags=["exercise", "further"]
total = ...  # replace the dots

# %% tags=["solution", "further"]
total = sum(sum(classes.values()) for classes in dataset.RECORD.counts.values())

# %% tags=["check", "further"]
exercises.check("01.3", total)

# %% [markdown] tags=["core"]
# ## Beside the real images

# %% tags=["core"]
facts = {
    "images": len(index),
    "share of PNEUMONIA": round(float(index["label"].mean()), 3),
    "patient groups": int(index["patient"].nunique()),
}
course.beside_real("01_download", facts, run_dir=run_dir, source=source)

# %% [markdown] tags=["core"]
# ## What to remember
#
# - Four sources, one layout, one index table with one row an image.
# - Count, and compare with the record, before anything else.
# - Children of one to five, one hospital. On children from elsewhere, a network trained here fell from .95 to
#   .54 on a scale where .5 is a coin toss [13].
# - Radiographs don't tell virus from bacteria reliably [7], and readers differ [10].
# - Phantoms teach the method, not medicine.
#
# Next: [2. Explore](02_explore.ipynb) looks for what a network could learn by mistake.

# %% [markdown] tags=["core"]
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
# 13. Xin, Li, Yi, Limited generalizability of deep learning, 2021.
#     [doi:10.1007/s10140-021-01954-x](https://doi.org/10.1007/s10140-021-01954-x)
