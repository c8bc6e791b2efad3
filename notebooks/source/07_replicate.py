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
# # 7. Replicate: what a published figure is worth
#
# **Minutes**: counted when this is built
#
# After this notebook you can
#
# - read a claim, and say what the number of images does to it;
# - compare published figures with repeated runs;
# - make five well-known mistakes on purpose, and measure what each is worth.
#
# **Before you start**: [06 Evaluate](06_evaluate.ipynb), that is threshold, interval, validation against test.

# %% tags=["parameters", "core"]
# None: what course.toml beside this lesson says, or else the sample. Kernel: the Python of .venv.
source = None
path = None
data_dir = None
run_dir = None
profile = None
seed = None
repetitions = 4

# %% tags=["core"]
import pandas as pd

from cxr_utils import course, dataset, images, plots, recipes, sources
from cxr_utils.course import exercises, lessons
from cxr_utils.replication import claims, grid, mistakes, verdicts

source, path, data_dir, run_dir, profile, seed = lessons.chosen(source, path, data_dir, run_dir, profile, seed)
settings = course.profile(profile)
kept = course.results()
plots.style("folder", synthetic=False)
pd.set_option("display.max_colwidth", None)

# %% [markdown] tags=["core"]
# The first half reads `results/`, what our runs on the *real* images left behind. Its figures are real ones, also
# if you follow on the sample.
#
# ## How to read a claim
#
# A [claim](glossary.md#claim) is a published figure. Ask it four questions:
#
# 1. **What** was measured?
# 2. **On which images?** Training, validation or test?
# 3. **On how many?**
# 4. **How was it chosen?** The last epoch, the best one, one run of many?
#
# First where they stand. We call the five systems by numbers, and each has a [recipe](04_train.ipynb): system 002 is
# `plain_300`.

# %% tags=["core"]
recipes.sources().set_index("system")[["recipes", "date", "licence", "read", "link"]]

# %% [markdown] tags=["core"]
# A link goes to the commit that we read, so that what is said here can be checked after the authors go on. Read all there
# is: of system 002 we once read the README alone, called its settings unpublished, and judged another training than its own.
# They stood in the notebook beside it ([errata](../results/systems/002.md)).
#
# **Predict, then run**: here are the claims of the five and of a tutorial. Which question do most of them leave open?

# %% tags=["core"]
table = claims.table(kept)
table["stands in"] = table["source"] + ", " + table["place"]
table[["recipe", "claim", "stands in", "n"]].astype("string").fillna("")

# %% [markdown] tags=["core"]
# How a figure was chosen, hardly any says. Where `n` is given, we mostly got it from the code beside the text.
# Statements about the dataset have none.
#
# ## What the number does
#
# **Predict, then run**: a network gets 94% right. From where to where does its 95% interval go on 16 images (15
# right)? And on 624?

# %% tags=["core", "nbval-check-output"]
rows = {f"{n:,} images": (0.94, *verdicts.interval(0.94, n)) for n in (16, 100, 624, 5216)}
by_size = pd.DataFrame(rows, index=["value", "low", "high"]).T
by_size.round(3)

# %% tags=["core"]
plots.show(plots.intervals(by_size),
           alt="A share of 94% with its 95% interval on 16, 100, 624 and 5,216 images: ever shorter bars")

# %% [markdown] tags=["core"]
# The interval is Clopper and Pearson's, for shares of independent images. Four times the images about halve it.
# Sixteen, the size of the dataset's own `val` folder, say next to nothing.
#
# ### Exercise 7.1
#
# All answers are right, on *n* images. The interval then goes from .025 ** (1 / *n*) to 1. What is the smallest
# *n* for which its lower end is .98 or more?

# %% tags=["exercise", "core"]
enough = ...  # replace the dots; try values, or take logarithms

# %% tags=["solution", "core"]
enough = next(n for n in range(1, 10_000) if 0.025 ** (1 / n) >= 0.98)

# %% tags=["check", "core"]
exercises.check("07.1", enough)

# %% [markdown] tags=["further"]
# ### Can it be a share of so many images?
#
# Shares of 624 images move in steps of 1/624. Psychologists call it the GRIM test: does *any* count give the printed
# figure? The console of system 000 (`plain_64`) shows .8964 on the 624 images of test.
#
# **Predict, then run**: how many right answers is that?

# %% tags=["further", "nbval-check-output"]
[right for right in range(624 + 1) if round(right / 624, 4) == 0.8964]

# %% [markdown] tags=["further"]
# None: 559 give .8958, and 560 give .8974. Most likely it is what the progress bar of `evaluate` showed: in Keras 3
# of that time it averaged the averages so far ([issue](https://github.com/keras-team/keras/issues/21301)). The next
# line prints what `evaluate` *returned*, 0.91; 566 of 624 give .907. Take figures from what a function returns.

# %% [markdown] tags=["core"]
# ## Claims beside our runs
#
# Each recipe was trained with several seeds under two [protocols](glossary.md#protocol). *Published*: as its authors did, mistakes included. *Honest*: the epoch chosen on
# validation patients, test read once. Both answer PNEUMONIA from .5 on, as the published figures do.

# %% tags=["core"]
runs = pd.DataFrame([
    {"recipe": name.rsplit("-", 2)[0], "protocol": run["protocol"],
     **{part: run["metrics"][part]["at_half"]["accuracy"]["value"] for part in ("validation", "test")}}
    for name, run in grid.results(kept).items()])
planned = {cell.name for cell in grid.cells()}
done = planned & set(grid.results(kept))
print(f"{len(done)} of {len(planned)} cells of the grid are finished, {len(runs)} runs in all")

# %% [markdown] tags=["core"]
# **Predict, then run**: which claims will lie right of all that we reached?

# %% tags=["core"]
plots.show(plots.claim_forest(table),
           alt="Forest plot: most published shares lie right of our honest figure on test")

# %% [markdown] tags=["core"]
# This is a [forest plot](glossary.md#forest-plot). Read it row by row.
#
# - Diamond and circle agree: the figure can be *reproduced*. That does not make it true of new patients.
# - The square is the honest figure on test. How far is it from the diamond?
# - A long orange bar is a claim about few images. A hollow diamond did not say on how many.
# - A diamond right of circle and square is more than we reached with these seeds. Before the verdict says so, it
#   asks what one further training may give.
#
# Each claim gets one verdict, the first of these that applies:
#
# 1. *true of another copy*: its authors used another upload of the images;
# 2. *not a fact of the dataset*: its record says otherwise;
# 3. *typed text*: the code prints it as fixed words, and the log beside it says otherwise;
# 4. *contradicts itself*: another, more plausible figure of the same source excludes it;
# 5. *an artefact*: so few images that they say nothing, answers in shuffled order, or a share that no count of its
#    images gives;
# 6. *underspecified*: its set or settings stand in nothing that we could read, so ours is a reconstruction;
# 7. *reproduced*: in the range of our seeds, or within what one further training may give;
# 8. *undecided*: only there, and that is wide: our trainings differ too much to tell;
# 9. *above what we can reach*, or *below*.
#
# Claims about the dataset are counted apart: whoever counts files well says nothing about a network. So are those of the
# tutorial.
#
# **Predict, then run**: which verdict is the most frequent for a performance of the five systems?

# %% tags=["core"]
of = table["metric"].isin(claims.FACTS).map({True: "the five: dataset", False: "the five: performance"})
of = of.where(table["system"].str.match(r"\d"), "the tutorial").rename("claims of")
pd.crosstab(table["verdict"], of)

# %% [markdown] tags=["core"]
# ## Validation promises, test keeps
#
# **Predict, then run**: one point a run. On the diagonal, test keeps what validation promised. Who will lie
# exactly on it?

# %% tags=["core"]
plots.show(plots.validation_against_test(runs),
           alt="Runs that validate on test lie on the diagonal, all others below it: test gave less than validation")

# %% [markdown] tags=["core"]
# Hollow points on the diagonal are no miracle: those authors validated *on test*, so both figures are one. Full
# points validated on patients of the training block; below the diagonal they fell on test, whose pictures differ.
#
# ### Exercise 7.2
#
# From `runs`: by how many points of accuracy do the runs under the honest protocol fall from validation to
# test, on average?

# %% tags=["exercise", "core"]
fall = ...  # replace the dots

# %% tags=["solution", "core"]
honest = runs[runs["protocol"] == "honest"]
fall = 100 * (honest["validation"] - honest["test"]).mean()

# %% tags=["check", "core"]
exercises.check("07.2", fall, runs=runs)

# %% [markdown] tags=["further"]
# ## What went wrong in published work, re-enacted
#
# Now we make the mistakes ourselves, with a small quick network. Each seed draws a new split, first weights and
# order, and gives a *pair*: the same quantity done wrong and right. It is balanced accuracy, so that another mix of
# classes makes no difference. (On the sample these are drawn phantoms, and marked synthetic.)

# %% tags=["further"]
plots.style(source, data_dir)
folder = sources.fetch(source, data_dir=data_dir, path=path)
index = dataset.scan(folder)
few = settings.comparison_images and 2 * settings.comparison_images
rows = mistakes.pool(index, images=few, seed=seed)
quick = recipes.get("plain_64").but(augmentation=None, channels=1, batch_size=16).at(image_size=48, width=0.5)
bench = mistakes.Bench(
    index=index.iloc[rows].reset_index(drop=True), pixels=images.cache(index, folder, size=48)[rows],
    recipe=quick, run_dir=f"{run_dir}/mistakes", epochs=4, seeds=range(seed, seed + repetitions),
    image_source=source)

# %% [markdown] tags=["further"]
# ### Shuffled answers
#
# **Predict, then run**: answers in a shuffled order, labels in theirs. What is left?

# %% tags=["further"]
shuffled = mistakes.shuffled_answers(bench)
shuffled.round(3)

# %% [markdown] tags=["further"]
# **Mechanism**: a generator that shuffles serves the images in its own order. What is left is how often two
# unrelated lists agree: one half, balanced. In plain accuracy it looks like a weak network, such as the .59 of system 001
# (`batchnorm_224`).
#
# ### Validation of 16 images
#
# **Predict, then run**: eight images of each class validate, and the best epoch on them is reported. What do all
# other validation images say of that network?

# %% tags=["further"]
sixteen = mistakes.sixteen_images(bench)
sixteen.round(3)

# %% [markdown] tags=["further"]
# **Mechanism**: one image is worth 6 points, so luck moves the figure, and the best of several epochs is a lucky
# one. Compare the rows: not every seed is lucky.
#
# ### Test as validation
#
# **Predict, then run**: the training is the same; epoch and threshold are chosen on test, or on validation. Both
# are judged on test.

# %% tags=["further"]
peeked = mistakes.test_as_validation(bench)
peeked.round(3)

# %% [markdown] tags=["further"]
# **Mechanism**: the best of many looks holds the luck of that look, and here the threshold that suits test's
# block. New patients give no such look.
#
# ### Split by image
#
# **Predict, then run**: the same validation images twice. Once, other images of the same patients are in
# training; once, as many of other patients.

# %% tags=["further"]
by_image = mistakes.split_by_image(bench)
by_image.round(3)

# %% [markdown] tags=["further"]
# **Mechanism**: the network may know the child already; validation then asks for memory, not judgement. How much
# that helps depends on network and images. Of NORMAL images we don't know whether equal numbers mean one child.
#
# ### SMOTE before the split
#
# **Predict, then run**: balance first, split then. Validation now holds synthetic images. Will they be hard?

# %% tags=["further"]
smote_first = mistakes.smote_before_split(bench)
smote_first.round(3)

# %% [markdown] tags=["further"]
# **Mechanism**: parents of a synthetic image can be on the other side of the split. And only NORMAL has double
# exposures: they give their class away.
#
# ## What each is worth
#
# Wrong minus right, in points. What the two figures of a seed share cancels in their difference, so we take the
# interval of the differences: a [paired interval](glossary.md#paired-interval), by Student's t. Few seeds make it
# wide. It speaks of new splits and trainings on *these* images, not of other children; and as the seeds share
# images, it is rather too narrow.
#
# **Predict, then run**: which mistake flatters most? For which can these seeds not tell?

# %% tags=["further"]
tables = {"shuffled answers": shuffled, "validation of 16 images": sixteen, "test as validation": peeked,
          "split by image": by_image, "SMOTE before the split": smote_first}
worth = mistakes.worth(tables)
worth.round(3)

# %% tags=["further"]
plots.show(plots.mistakes_worth(worth, tables),
           alt="Points by mistake, with seeds and intervals: shuffled answers take away much, test as validation adds")

# %% [markdown] tags=["further"]
# Right of the dotted line a mistake flatters. An interval across the line does not mean harmless: these few seeds
# can't tell.
#
# ### Exercise 7.3
#
# Make a list of the mistakes in `worth` whose interval does not hold 0.

# %% tags=["exercise", "further"]
told = ...  # replace the dots

# %% tags=["solution", "further"]
told = list(worth.index[(worth["low"] > 0) | (worth["high"] < 0)])

# %% tags=["check", "further"]
exercises.check("07.3", told, worth=worth)

# %% [markdown] tags=["further"]
# ## Here and on the real images

# %% tags=["further"]
course.beside_real("07_replicate", {
    f"{row.Index}: points [95%]": f"{row.points:+.1f} [{row.low:+.1f} to {row.high:+.1f}], {row.seeds} seeds"
    for row in worth.itertuples()
}, run_dir=run_dir, source=source)

# %% [markdown] tags=["core"]
# ## What to remember
#
# - A figure without its set, its number and how it was chosen is not yet a claim.
# - Sixteen images prove nothing. Test that validates is no test.
# - Reproduced is not true elsewhere: look at the honest figure.
# - Repeat with several seeds, compare on the same images, give the interval, and say what you can't tell.
# - Read the code beside the text, and give each figure its address. Then nobody is accused of what they did not do.
#
# The rules of the verdicts and all figures are in the [README](../README.md). `cxr replicate --dry-run` names the cells
# of the grid, `cxr replicate` trains them. Next: [08 Explain and predict](08_explain_and_predict.ipynb), where we
# ask a network about one image, and what it looks at.
