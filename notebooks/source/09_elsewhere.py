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
# # 9. Elsewhere: the same network in another hospital
#
# **You will be able to** judge a network on the images of another hospital; find the column that a figure over all images
# hides; tell a network that looks at lungs from one that does not; say what has to be done before anyone may use it in a new
# place.
#
# **Before you start**: [6. Evaluate](06_evaluate.ipynb) and the core of
# [8. Explain and predict](08_explain_and_predict.ipynb).
#
# **Minutes**: counted when this is built

# %% tags=["parameters", "core"]
# Nothing to do here. None means: what course.toml beside this lesson says. The images are the drawn ones here, whatever it says.
source = None
path = None
data_dir = None
run_dir = None
profile = None
seed = None

# %% tags=["core"]
import numpy as np
import pandas as pd

from cxr_utils import course, dataset, evaluation, images, models, plots, recipes, sources, splits, training
from cxr_utils.course import exercises, lessons

_, _, data_dir, run_dir, _, seed = lessons.chosen(source, path, data_dir, run_dir, profile, seed)
settings = course.profile("sample")
plots.style("sample", data_dir)

# %% [markdown] tags=["core"]
# A network that is used meets other machines and children. We draw a second hospital, so that we know what was built in.
# (This lesson uses phantoms even if your `course.toml` names real images.) The network is the plain one of notebook 4.

# %% tags=["core"]
folder = sources.fetch("sample", data_dir=data_dir, progress=True)
index = dataset.scan(folder)
plain = recipes.get("plain_224").but(augmentation=None).at(image_size=settings.image_size, width=settings.width)
pixels = images.cache(index, folder, size=plain.image_size)
split = splits.grouped(index, seed=seed)

# %% tags=["core"]
how = {"seed": seed, "image_source": "sample", "beside": True, "progress": True}
run = training.fit(plain, pixels, split, run_dir=f"{run_dir}/plain_224-s{seed}", epochs=settings.epochs, **how)
validation, home = (evaluation.predict(run, pixels, split, parts=[part]) for part in ("validation", "test"))
threshold = evaluation.best_threshold(validation["label"], validation["probability"])
at_home = evaluation.metrics(home["label"], home["probability"])["auc"]
print(f"AUC on the test images of the first hospital: {at_home:.2f}")

# %% [markdown] tags=["core"]
# The other hospital gives a table with its images. A child lies in bed, and the X-rays enter at the front
# ([AP](glossary.md#ap-view)); or it stands, and they enter at the back (PA).

# %% tags=["core"]
abroad = sources.fetch("elsewhere", data_dir=data_dir, progress=True)
told = dataset.scan(abroad)
there = images.cache(told, abroad, size=plain.image_size)
told = told.merge(pd.read_csv(abroad / "table.csv"), on=["path", "patient"])
told[["patient", "label", "view", "age", "sex"]].head(3)

# %% tags=["core"]
some = [folder / home["path"].iloc[0], *(abroad / told.groupby("view")["path"].first())]
plots.show(plots.image_grid([images.read(path) for path in some], ["first hospital", "the other, AP", "PA"]),
           alt="A chest of the first hospital, and one of each view of the other")

# %% [markdown] tags=["core"]
# **How to read it**: the other hospital's children are older, fill more of the picture, and are less ill.
#
# ## How far does it fall?
#
# **Predict, then run**: which AUC will the same network have in the other hospital?

# %% tags=["guess", "core"]
elsewhere_guess = None  # your guess: from 0.5 (chance) to 1

# %% tags=["answer", "core"]
told["probability"] = models.answers(run.load_model(), there)
pooled = evaluation.metrics(told["label"], told["probability"])["auc"]
lessons.compare("AUC elsewhere", elsewhere_guess, pooled)
round(pooled, 2)

# %% [markdown] tags=["core"]
# A coin has .5. Has the network learned nothing that holds elsewhere? Look at groups first.
#
# ### Exercise 9.1
#
# Within each value of one column AUC is far higher. Of which of `columns`? Group `told` by each, and compute AUC in each
# group (`evaluation.metrics(rows["label"], rows["probability"])["auc"]`).

# %% tags=["core"]
told["age group"] = pd.cut(told["age"], [3, 7, 12, 16], labels=["4 to 7", "8 to 12", "13 to 16"]).astype(str)
columns = ["age group", "sex", "view"]

# %% tags=["exercise", "core"]
column = ...  # replace the dots by a name

# %% tags=["solution", "core"]
within = {}
for name in columns:
    areas = [evaluation.metrics(rows["label"], rows["probability"])["auc"] for _, rows in told.groupby(name)]
    within[name] = min(areas)
column = max(within, key=within.get)

# %% tags=["check", "core"]
exercises.check("09.1", column, told=told, columns=columns)

# %% [markdown] tags=["core"]
# ## View by view
#
# **Predict, then run**: which AUC has the network among the AP pictures alone?

# %% tags=["guess", "core"]
ap_guess = None  # your guess: from 0.5 (chance) to 1

# %% tags=["answer", "core"]
groups = {"all": told} | {view: rows for view, rows in told.groupby("view")}
by_view = {name: evaluation.bootstrap(rows, threshold=threshold, draws=500, seed=seed)
           for name, rows in groups.items()}
lessons.compare("AUC, AP alone", ap_guess, by_view["AP"].loc["auc", "value"])
plots.show(plots.intervals(by_view, metrics=["auc", "sensitivity", "specificity"]),
           alt="AUC, sensitivity and specificity: of all images, and of each view, with 95% intervals")

# %% [markdown] tags=["core"]
# **How to read it**: in AUC both views lie to the right of *all*: the network does rank the children of one view. In
# specificity they lie far apart: at one threshold most healthy children in bed are false alarms, and hardly any of those
# who stand. The table shows why.

# %% tags=["core"]
told.groupby("view")[["label", "probability"]].mean().rename(columns={"label": "share ill"}).round(2)

# %% [markdown] tags=["core"]
# In the first hospital the ill were pictured in a tight frame, as here the children in bed. So AP gets a high probability.
# But here most of them are healthy: the view pushes the answer one way, the truth goes the other. That a relation within
# groups vanishes or turns when they are pooled is [Simpson's paradox](glossary.md#simpson-paradox).
#
# ## Does it look at lungs?
#
# We train a rival that can't use the surroundings: each training picture gets those of another child, by chance, and its
# brightness and size are changed.

# %% tags=["core"]
from cxr_utils import augment, explain, shortcuts

strong = augment.Augmentation(rotation=8, width_shift=0.08, height_shift=0.08, zoom=0.25,
                              brightness=0.3, contrast=0.4, gamma=0.5)
swapped = shortcuts.exchanged(pixels, np.random.default_rng(seed).permutation(split["label"]), seed=seed)
rival = training.fit(plain.but(augmentation=strong), swapped, split, run_dir=f"{run_dir}/swapped-s{seed}",
                     epochs=2 * settings.epochs, **how)
networks = {"plain": run.load_model(), "swapped surroundings": rival.load_model()}

# %% [markdown] tags=["core"]
# First the usual way, heat maps: of ill children in bed, how much of the heat lies in the central chest?

# %% tags=["core"]
ap = (told["view"] == "AP").to_numpy()
in_bed_and_ill = there[ap & (told["label"] == 1)].astype("float32") / 255
heats = {name: explain.heat_maps(each, in_bed_and_ill, how="gradcam") for name, each in networks.items()}
shares = {name: shortcuts.heat_shares(heat)["centre"].mean() for name, heat in heats.items()}
pd.Series(shares, name="share of the heat").round(2).to_frame()

# %% [markdown] tags=["core"]
# Heat spread evenly would have .49. Do the two shares tell you which network looks at lungs? Now a test that changes the
# picture: grey covers the central chest, and both lungs with it.
#
# **Predict, then run**: which AUC is left of the plain network, in AP?

# %% tags=["guess", "core"]
covered_guess = None  # your guess: from 0.5 (chance) to 1

# %% tags=["answer", "core"]
tests = {name: shortcuts.measure(each, there[ap], told[ap], draws=200, seed=seed) for name, each in networks.items()}
left = tests["plain"].loc["central chest covered", "value"]
lessons.compare("AUC in AP, chest covered", covered_guess, left)
plots.show(plots.intervals(tests, metrics=["as it is", "central chest covered"]),
           alt="AUC of both networks in AP, as it is and with the central chest covered")

# %% [markdown] tags=["core"]
# **How to read it**: the values are AUC; compare the two rows. The plain network hardly notices that the lungs are gone:
# within a view it reads the frame, which here, too, is a little tighter around the ill. The rival is ruined, as it should
# be. (Below .5 it ranks the wrong way round: grey is nothing that it knows.)
#
# ## Does .9 still mean 90 of 100?
#
# A network is [calibrated](glossary.md#calibration) if, of all images that it gives about .9, about 90% are ill.
#
# **Predict, then run**: of all images here to which the plain network gives .9 or more, which share is ill?

# %% tags=["guess", "core"]
sure_guess = None  # your guess: a share from 0 to 1

# %% tags=["answer", "core"]
sure = {name: rows.loc[rows["probability"] >= 0.9, "label"].mean() for name, rows in (("home", home), ("here", told))}
lessons.compare("Ill, of those given .9 or more", sure_guess, sure["here"])
pd.Series(sure, name="ill, of those given .9 or more").round(2).to_frame()

# %% [markdown] tags=["core"]
# Whoever has no labels from the new place can't see that.
#
# ## What went wrong in published work
#
# The network of [Zech and others, 2018](https://doi.org/10.1371/journal.pmed.1002683) had an AUC of .931 in the two
# hospital systems it was trained on, and .815 in a third. Merely sorting films by hospital gave .861, for one had many
# more ill people.
#
# ## The real network elsewhere
#
# The real column is the shipped network, on 1,000 films of another hospital: adults mostly, labels taken from reports by a
# program. It shows that the network does not carry over, not how it does on other children.

# %% tags=["core"]
facts = {f"AUC elsewhere, {name}": found.loc["auc", "value"] for name, found in by_view.items()}
facts |= {"AUC, own test": at_home, "AUC elsewhere, AP, chest covered": left, "heat in the chest": shares["plain"]}
course.beside_real("09_elsewhere", facts, run_dir=run_dir, source="sample")

# %% [markdown] tags=["core"]
# There, too, most healthy people were pictured in AP; and covering the chest takes nothing away, though most of the heat
# lies in it.
#
# ## Before anyone may use it
#
# 1. **A protocol first**: which figure, at which threshold, and what is too bad.
# 2. **Enough patients of that place**, read by physicians; figures by view, machine, age and sex, with intervals.
# 3. **A test that changes the picture**: what predicts without lungs?
# 4. **Calibration and threshold** from images of that place, judged on others of it.
# 5. **Somebody who answers for it**, and a study whether care gets better.
# 6. **Watching**: a new machine is a new place.

# %% [markdown] tags=["further"]
# ## Who pays for the wrong threshold?
#
# ### Exercise 9.2
#
# A false alarm is a healthy child whose probability is at or above `threshold`. Which share of all false alarms was
# pictured in bed (AP)? (Its probability is in `told["probability"]`, its truth in `told["label"]`.)

# %% tags=["exercise", "further"]
in_bed = ...  # replace the dots

# %% tags=["solution", "further"]
alarms = told[(told["label"] == 0) & (told["probability"] >= threshold)]
in_bed = (alarms["view"] == "AP").mean()

# %% tags=["check", "further"]
exercises.check("09.2", in_bed, told=told, threshold=threshold)

# %% [markdown] tags=["further"]
# Does a threshold for each view, chosen here, mend it? Half of the patients choose, the other half is judged.

# %% tags=["further"]
chooses = told["patient"].isin(told["patient"].drop_duplicates().sample(frac=0.5, random_state=seed))
cuts = {view: evaluation.best_threshold(rows["label"], rows["probability"])
        for view, rows in told[chooses].groupby("view")}
judged = told[~chooses]
right = {"carried from the first hospital": (judged["probability"] >= threshold) == judged["label"],
         "chosen here, by view": (judged["probability"] >= judged["view"].map(cuts)) == judged["label"]}
pd.Series({name: answers.mean() for name, answers in right.items()}, name="share right").round(2).to_frame()

# %% [markdown] tags=["further"]
# The figure may get better, the network does not: it still reads the frame, and the next machine will frame otherwise.
#
# ## Maps and calibration
#
# The heat maps of both networks, over the same picture, and how far the plain one means what it says:

# %% tags=["further"]
picture = images.resize(there[ap & (told["label"] == 1)][0, :, :, 0], 224)
titles = [f"{name}: {share:.0%} of the heat of all in the chest" for name, share in shares.items()]
plots.show(plots.heat_maps([picture] * 2, [heat[0] for heat in heats.values()], titles, columns=2, height=4),
           alt="Heat maps of both networks over the same AP picture of an ill child")

# %% [markdown] tags=["further"]
# **How to read it**: places without colour don't speak for PNEUMONIA. The title gives the mean over all ill children in bed.

# %% tags=["further"]
plots.show(plots.calibration(evaluation.calibration(told["label"], told["probability"])),
           alt="Observed share of pneumonia over the probability given, in the other hospital")

# %% [markdown] tags=["further"]
# **How to read it**: on the diagonal the network would mean what it says. Points right of it are children whom it calls too
# ill, points left of it those whom it calls too healthy.
#
# ## A hospital that nobody knows
#
# Each seed is another hospital: another machine, and views that go with the label more or less. Whoever teaches can draw one
# by a secret seed, and hand out `blind/elsewhere`:
#
# ```sh
# cxr fetch --source elsewhere --seed 8417 --data-dir blind
# ```
#
# What would you report of the network there? Write down first which figures you will look at. Is the rival better there?
#
# ## Real images of another hospital
#
# For a folder or zip file of labelled images (JPEG, PNG, DICOM), and a table with the columns `path`, `patient` and `view`:
#
# ```sh
# cxr evaluate --source folder --path theirs.zip --table theirs.csv --by view --shortcuts
# ```
#
# It gives the figures of this lesson, and warns where a column goes with the label.

# %% [markdown] tags=["core"]
# How many of your guesses came true?

# %% tags=["core"]
lessons.score()

# %% [markdown] tags=["core"]
# ## What to remember
#
# - A figure belongs to a place. Elsewhere measure it again; probability and threshold don't travel.
# - One figure over all images can hide two others: look at groups.
# - A good figure by group is not yet knowledge of lungs: change the picture, and see.
#
# Next: [10. Audit](10_audit.ipynb), where you judge a program that you have not written.

# %% [markdown] tags=["further"]
# ## Five questions
#
# For whoever wants to know what stayed. Write your letters in place of the dots, in quotes and with commas, such as
# `"a", "c", ..., "b", "a"`, and run the cell again: it says why.

# %% tags=["further", "nbval-check-output"]
lessons.quiz("09", ...)
