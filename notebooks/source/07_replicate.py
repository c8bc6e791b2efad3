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
# **You will be able to** ask of a claim what, where, on how many images and how; compare published figures with repeated
# runs; make five well-known mistakes on purpose, measure what each is worth, and say of which that can be told.
#
# **Before you start**: threshold, interval, and validation against test, of [6. Evaluate](06_evaluate.ipynb).
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
repetitions = 3

# %% tags=["core"]
import json

import pandas as pd

from cxr_utils import course, dataset, evaluation, images, plots, recipes, sources
from cxr_utils.course import exercises, lessons
from cxr_utils.replication import claims, mistakes, verdicts

source, path, data_dir, run_dir, profile, seed = lessons.chosen(source, path, data_dir, run_dir, profile, seed)
settings = course.profile(profile)
plots.style("folder", synthetic=False)
pd.set_option("display.max_colwidth", None)

# %% [markdown] tags=["core"]
# The first half reads `results/`, what our runs on the *real* images left behind, also if you follow on the sample.
#
# ## Five systems
#
# Five projects on GitHub trained networks on these images, and published figures. Here they have numbers, and
# [recipes](04_train.ipynb) that repeat what each did. A Keras tutorial stands beside them.

# %% tags=["core"]
systems = recipes.sources().set_index("system")
systems[["recipes", "date", "link"]].style.format(hyperlinks="html")

# %% [markdown] tags=["core", "slide"]
# A link leads to the commit (a saved version) that we read, so you can check what is said here even after a change.
# Read all there is: of system 002 we once read the README alone, and judged a training that was not theirs
# ([our corrections](../results/systems/002.md)).
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
# Here are the first six. Answer the four questions for one row, with your neighbour.

# %% tags=["core"]
table = claims.table(course.results())
table["stands in"] = table["source"] + ", " + table["place"]
table[["recipe", "claim", "stands in", "n"]].head(6).astype("string").fillna("")

# %% [markdown] tags=["core"]
# Hardly any claim says how its figure was chosen. Where `n`, the number of images, is given, we mostly got it from the
# code beside the text.

# %% [markdown] tags=["further"]
# ## What the number does
#
# A network gets 94% right. From where to where does its 95% interval go on 16 images, and on 624?

# %% tags=["further", "nbval-check-output"]
rows = {f"{n:,} images": (0.94, *verdicts.interval(0.94, n)) for n in (16, 100, 624, 5216)}
by_size = pd.DataFrame(rows, index=["value", "low", "high"]).T
by_size.round(3)

# %% tags=["further"]
plots.show(plots.intervals(by_size),
           alt="A share of 94% with its 95% interval on 16, 100, 624 and 5,216 images: ever shorter bars")

# %% [markdown] tags=["further"]
# **How to read it**: the bar is the interval of Clopper and Pearson, for shares of independent images. Four times the images
# about halve it. Sixteen, the size of the dataset's own `val` folder, say next to nothing.
#
# ### Can it be a share of so many images?
#
# Shares of 624 images move in steps of 1/624. Psychologists call it the GRIM test: does *any* count give the printed
# figure? The console of system 000 shows .8964 on the 624 images of test. Which number of right answers is that?

# %% tags=["further", "nbval-check-output"]
[right for right in range(624 + 1) if round(right / 624, 4) == 0.8964]

# %% [markdown] tags=["further"]
# None: 559 give .8958, and 560 give .8974. Most likely it is what the progress bar of `evaluate` showed: in Keras 3
# of that time it averaged the averages so far ([issue](https://github.com/keras-team/keras/issues/21301)). The next
# line prints what `evaluate` *returned*, 0.91; 566 of 624 give .907. Take figures from what a function returns.

# %% [markdown] tags=["core"]
# ## Claims beside our runs
#
# Each recipe was trained with several seeds under two [protocols](glossary.md#protocol). *Published*: as its authors did,
# mistakes included. *Honest*: the epoch chosen on validation patients, test read once. For each recipe we draw the highest
# figure that was published.

# %% tags=["core", "slide"]
highest = table.dropna(subset="value").sort_values("value").drop_duplicates("recipe", keep="last").sort_index()
plots.show(plots.claim_forest(highest),
           alt="Forest plot: the highest published figures lie right of our honest figures on test")

# %% [markdown] tags=["core"]
# **How to read it**: in this [forest plot](glossary.md#forest-plot) start with the row *plain_300: validation accuracy 100%*:
# the diamond says 1.0, circle and square say about .9. Where diamond and circle agree, the figure
# can be *reproduced*; that does not make it true of new patients. The square is the honest figure on test. A hollow
# diamond did not say on how many images.
#
# Each claim gets one verdict. *Reproduced*: our runs give it too. *Typed text*: printed, not measured. *An
# artefact*: made by the counting, not by the network. *Underspecified*: settings are missing. *Undecided*: our own runs differ too much.
#
# **Predict, then run**: which verdict is the most frequent for a performance of the five systems?

# %% tags=["guess", "core", "slide"]
most_frequent = None  # your guess: "reproduced", "an artefact", "typed text", "underspecified" or "undecided"

# %% tags=["answer", "core", "slide"]
of = table["metric"].isin(claims.FACTS).map({True: "the five: dataset", False: "the five: performance"})
of = of.where(table["system"].str.match(r"\d"), "the tutorial").rename("claims of")
counted = pd.crosstab(table["verdict"], of)
lessons.compare("The most frequent verdict", most_frequent, counted["the five: performance"].idxmax())
counted

# %% [markdown] tags=["core"]
# Claims about the dataset are counted apart. A figure that we reproduced can still be one on test images that validated.

# %% [markdown] tags=["further"]
# All verdicts; a claim gets the first that applies:
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
# And all published shares:

# %% tags=["further"]
plots.show(plots.claim_forest(table),
           alt="Forest plot of all claims: most published shares lie right of our honest figure on test")

# %% [markdown] tags=["further"]
# **How to read it**: as above, now with all claims of a system below each other. A long orange bar is a claim about few
# images, such as one batch of 32. Where training accuracy was published, the square is far away: it is of other images.

# %% [markdown] tags=["core"]
# ## Validation promises, test keeps
#
# **Predict, then run**: by how many [points](glossary.md#points) of accuracy does a run under the honest protocol fall from
# validation to test, on average?

# %% tags=["guess", "core", "slide"]
points_lost = None  # your guess: a number of points, from 0 to 100

# %% tags=["answer", "core", "slide"]
runs = claims.runs(course.results())
honest = runs[runs["protocol"] == "honest"]
lost = 100 * (honest["validation"] - honest["test"])
lessons.compare("Points lost on test", points_lost, lost.mean(), within=4)
print(f"{lost.mean():.1f} points, mean of {len(lost)} runs (from {lost.min():.1f} to {lost.max():.1f})")
plots.show(plots.validation_against_test(runs),
           alt="Runs that validate on test lie on the diagonal, nearly all others below it: test gave less than validation")

# %% [markdown] tags=["core"]
# **How to read it**: one point is one run. Hollow points on the diagonal are no miracle: those authors validated *on test*,
# so both figures are one. All other points, full or hollow, validated on images of the training block; below the diagonal
# they fell on test. In that fall are the other pictures of test, a threshold of .5 that no longer fits, and some luck of the
# epoch that validation chose. (The points above the diagonal are of `reference_2`. Whoever made its recipe knew the errors on
# test: this can flatter.)

# %% [markdown] tags=["further"]
# ### Exercise 7.1
#
# From `runs`: which share of the runs under the *published* protocol has the same accuracy in validation and on test?

# %% tags=["exercise", "further"]
same = ...  # replace the dots

# %% tags=["solution", "further"]
published = runs[runs["protocol"] == "published"]
same = (published["validation"] == published["test"]).mean()

# %% tags=["check", "further"]
exercises.check("07.1", same, runs=runs)

# %% [markdown] tags=["core"]
# ## What went wrong in published work, re-enacted
#
# Now we make the mistakes ourselves, with a small quick network. Each seed draws a new split, first weights and order, and
# gives a *pair*: the same quantity done wrong and right, in balanced accuracy.
#
# | mistake | done wrong | why it flatters, or not |
# | --- | --- | --- |
# | shuffled answers | answers in another order than the labels | in balanced accuracy unrelated answers score about .5; in plain accuracy it looks like a weak network |
# | validation of 16 images | the best epoch on 8 images of each class is reported | one image is worth 6 points, and the best epoch is a lucky one |
# | test as validation | epoch and threshold are chosen on test | it fits both to test's own pictures, and holds the luck of the best look |
# | split by image | other images of the same patients are in training | the network may know the child; validation then rewards remembering |
# | SMOTE before the split | validation holds mixtures of training images | only NORMAL has double exposures: they give their class away |

# %% tags=["core"]
plots.style(source, data_dir)
folder = sources.fetch(source, data_dir=data_dir, path=path, progress=True)
index = dataset.scan(folder)
few = settings.comparison_images and 2 * settings.comparison_images
rows = mistakes.pool(index, images=few, seed=seed)
quick = recipes.get("plain_64").but(augmentation=None, channels=1, batch_size=16).at(image_size=48, width=0.5)
bench = mistakes.Bench(
    index=index.iloc[rows].reset_index(drop=True), pixels=images.cache(index, folder, size=48)[rows],
    recipe=quick, run_dir=f"{run_dir}/mistakes", epochs=4, seeds=range(seed, seed + repetitions),
    image_source=source)

# %% [markdown] tags=["core"]
# **Predict, then run**: which of the five moves the figure most? And up or down?

# %% tags=["guess", "core"]
moves_most = None  # your guess: a name from the first column of the table

# %% tags=["answer", "core"]
tables = {"shuffled answers": mistakes.shuffled_answers(bench),
          "validation of 16 images": mistakes.sixteen_images(bench),
          "test as validation": mistakes.test_as_validation(bench),
          "split by image": mistakes.split_by_image(bench),
          "SMOTE before the split": mistakes.smote_before_split(bench)}
worth = mistakes.worth(tables)
lessons.compare("Moves most", moves_most, worth["points"].abs().idxmax())
worth.round(3)

# %% tags=["core"]
plots.show(plots.mistakes_worth(worth, tables),
           alt="Points by mistake, with seeds and intervals: shuffled answers take away much, test as validation adds")

# %% [markdown] tags=["core"]
# **How to read it**: a dot is one seed, wrong minus right, in points. Right of the dotted line a mistake flatters. What the
# two figures of a seed share cancels in their difference, so the bar is a [paired interval](glossary.md#paired-interval),
# computed from the scatter of the seeds (Student's t). A bar across the line does not mean
# harmless, nor does a mean left of it: so few seeds can't tell an effect of a few points.
#
# ### Exercise 7.2
#
# Make a list of the mistakes in `worth` whose interval does not hold 0.

# %% tags=["exercise", "core"]
told = ...  # replace the dots

# %% tags=["solution", "core"]
told = list(worth.index[(worth["low"] > 0) | (worth["high"] < 0)])

# %% tags=["check", "core"]
exercises.check("07.2", told, worth=worth)

# %% [markdown] tags=["further"]
# A row for each seed tells more than a mean. Choose another mistake, and look which seeds were lucky.

# %% tags=["further"]
tables["validation of 16 images"].round(3)

# %% [markdown] tags=["further"]
# ## A second ruler: five folds
#
# A test set wears out: whoever reads it often, and keeps what looks well, has chosen on it. This one was read
# [many times here](../results/all-runs.md#readings-of-the-test-set), and by everyone who publishes on it, and its
# 624 images leave two points of doubt. So the 5,232 images of train and val were dealt into
# [five folds](../results/folds.md). A network is trained five times, each time without one fold, and
# answers for that fold once. Runs of 60 neighbouring numbers stay whole, so that images which one machine took in a row
# are mostly on one side, and the interval is drawn over these runs. (A fold has few of them: there it is too narrow.)
#
# **Before you look**: eight statistics of a picture, no network, told the classes apart quite well on test, as in
# [notebook 2](02_explore.ipynb). Better or worse on the folds?

# %% tags=["further"]
scored = json.loads((course.results() / "submissions" / "eight_statistics.json").read_text())["figures"]
rows = {}
for fold, part in scored.items():
    rows[fold] = {name: evaluation.words(part["at_half"][name]) for name in ("auc", "accuracy")}
pd.DataFrame(rows).T

# %% [markdown] tags=["further"]
# Hold the first row against notebook 2. Train and val resemble each other, and what is special about the pictures of test
# is not in them: so the folds are the easier ruler. Each row is a
# fold with its 95% interval; one split alone would not have told you how they differ. Your own answers are judged by
# `cxr score --benchmark folds`, and can stand in the [table](../results/submissions/README.md). Publish on folds to
# compare methods, and open the official test set once, at the end.

# %% [markdown] tags=["core"]
# ## Beside the real images
#
# With three seeds it depends on the seed at the top whether the bar of *test as validation* clears 0. On the real images we
# took eight (`repetitions` at the top). There three of five are shown: shuffled answers, test as validation, and SMOTE
# before the split. For the split by image 0 is just inside.

# %% tags=["core"]
facts = {f"{row.Index}: points [95%]": f"{row.points:+.1f} [{row.low:+.1f} to {row.high:+.1f}], {row.seeds} seeds"
         for row in worth.itertuples()}
course.beside_real("07_replicate", facts, run_dir=run_dir, source=source)

# %% tags=["core"]
lessons.score()

# %% [markdown] tags=["core", "slide"]
# ## What to remember
#
# - A figure without its set, its number and how it was chosen is not yet a claim.
# - Sixteen images prove nothing. Test that validates is no test.
# - Reproduced is not true elsewhere: look at the honest figure.
# - Repeat with several seeds, compare on the same images, give the interval, and say what you can't tell.
# - Read the code beside the text, and give each figure its address. The five systems are not alone: of
#   [116 public programs](before_you_publish.md) about two of three validate on test or on the 16 images of `val`.
#
# The rules of the verdicts and all figures stand beside [the claims](../results/claims.md). `cxr replicate --dry-run` lists all
# trainings, `cxr replicate` runs them. Next: [8. Explain and predict](08_explain_and_predict.ipynb), where we
# ask a network about one image, and what it looks at.

# %% [markdown] tags=["further"]
# ## Five questions
#
# For whoever wants to know what stayed. Write your letters in place of the dots, in quotes and with commas, such as
# `"a", "c", ..., "b", "a"`, and run the cell again: it says why.

# %% tags=["further", "nbval-check-output"]
lessons.quiz("07", ...)
