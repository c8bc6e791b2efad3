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
# # 6. Evaluate: what the network knows, and how surely we know it
#
# **Minutes**: counted when this is built
#
# After this notebook you can
#
# - read a confusion matrix, and get sensitivity, specificity and predictive values from it;
# - read ROC, precision-recall and calibration curves;
# - choose a threshold on validation and carry it to test;
# - give each figure its 95% interval, and say what it would mean in another hospital.
#
# **Before you start**: [05 Improve](05_improve.ipynb). What is new here is only counting.

# %% tags=["parameters", "core"]
# None: what course.toml beside this lesson says, or else the sample. Kernel: the Python of .venv.
source = None
path = None
data_dir = None
run_dir = None
profile = None
seed = None
draws = 2000

# %% tags=["core"]
import numpy as np
import pandas as pd
from sklearn.metrics import classification_report

from cxr_utils import augment, course, dataset, evaluation, files, images, plots, recipes, sources, splits, training
from cxr_utils.course import exercises, lessons

source, path, data_dir, run_dir, profile, seed = lessons.chosen(source, path, data_dir, run_dir, profile, seed)
settings = course.profile(profile)
plots.style(source, data_dir)

# %% tags=["core"]
plain = recipes.get("plain_224").but(augmentation=None).at(image_size=settings.image_size,
                                                           width=settings.width)
folder = sources.fetch(source, data_dir=data_dir, path=path)
index = dataset.scan(folder)
pixels = images.cache(index, folder, size=plain.image_size)
split = splits.grouped(index, seed=seed)

# %% [markdown] tags=["core"]
# Two networks sit the exam: the plain one of notebook 4, and the same with augmentation: small turns,
# shifts and zooms, and changes of brightness, contrast and gamma. What is not there yet is trained now. (On the
# sample all pictures are drawn phantoms, and marked synthetic.)

# %% tags=["core"]
like_other_rooms = augment.Augmentation(rotation=8, width_shift=0.06, height_shift=0.06, zoom=0.1,
                                       brightness=0.15, contrast=0.2, gamma=0.2)
plain_run = training.fit(plain, pixels, split, run_dir=f"{run_dir}/plain_224-s{seed}", seed=seed,
                         epochs=settings.epochs, image_source=source)
run = training.fit(plain.but(augmentation=like_other_rooms), pixels, split,
                   run_dir=f"{run_dir}/augmented-s{seed}", seed=seed,
                   epochs=settings.epochs, image_source=source)

# %% [markdown] tags=["core"]
# **Decide before you look.** The network that we report is the augmented one. The reason is older than the
# result: notebook 2 showed that mere exposure betrays much here, and other rooms expose differently. The
# plain one is there for comparison.

# %% tags=["core"]
predictions = evaluation.predict(run, pixels, split)
plain_predictions = evaluation.predict(plain_run, pixels, split)
validation = predictions[predictions["split"] == "validation"]
plain_validation = plain_predictions[plain_predictions["split"] == "validation"]
validation[["patient", "split", "label", "kind", "probability"]].head(4)

# %% [markdown] tags=["core"]
# One row an image: the truth (`label`) beside the network's `probability` of PNEUMONIA, so they can't get out
# of step.
#
# Each network read test just now, once. We don't look at it until all choices are made on validation.

# %% [markdown] tags=["core"]
# ## Four kinds of outcome
#
# **Predict, then run**: a probability of at least .5 counts as PNEUMONIA. Which error will be more frequent:
# a healthy child called ill, or an ill child called healthy?

# %% tags=["core"]
matrix = evaluation.confusion(validation["label"], validation["probability"], threshold=0.5)
plots.show(plots.confusion(matrix), alt="Confusion matrix on validation: most images lie on the diagonal")

# %% [markdown] tags=["core"]
# In a [confusion matrix](glossary.md#confusion-matrix) rows are the truth and columns the answers. The diagonal
# is right. Along a row you read what happens to a *class*; down a column, what an *answer* is worth.
#
# | read | name | which share of … |
# | --- | --- | --- |
# | row PNEUMONIA | [sensitivity](glossary.md#sensitivity) (recall) | the ill is found? |
# | row NORMAL | [specificity](glossary.md#specificity) | the healthy is cleared? |
# | column PNEUMONIA | [positive predictive value](glossary.md#predictive-value) (precision) | those called ill is ill? |
# | column NORMAL | negative predictive value | those cleared is healthy? |

# %% [markdown] tags=["core"]
# ### Exercise 6.1
#
# Compute sensitivity and specificity from the four counts of a confusion matrix. The check asks about invented
# counts that differ much, so that a wrong way can't give the right number.

# %% tags=["exercise", "core"]
def rates(true_negative, false_positive, false_negative, true_positive):
    sensitivity = ...  # replace the dots
    specificity = ...
    return sensitivity, specificity

# %% tags=["solution", "core"]
def rates(true_negative, false_positive, false_negative, true_positive):
    sensitivity = true_positive / (true_positive + false_negative)
    specificity = true_negative / (true_negative + false_positive)
    return sensitivity, specificity

# %% tags=["check", "core"]
counts = 70, 30, 20, 180
sensitivity, specificity = rates(*counts)
exercises.check("06.1", sensitivity, specificity, counts=counts)

# %% [markdown] tags=["core"]
# scikit-learn prints these rates of our network in its own words: recall is read along rows, precision down columns,
# and F1 is a mean of both that stays near the smaller. Sensitivity is the recall of PNEUMONIA, specificity the
# recall of NORMAL.

# %% tags=["core"]
answers = (validation["probability"] >= 0.5).astype(int)
print(classification_report(validation["label"], answers, target_names=dataset.CLASSES, zero_division=0))

# %% [markdown] tags=["core"]
# ## All thresholds at once
#
# .5 is a habit, not a law. Each other [threshold](glossary.md#threshold) trades one error for the other.

# %% tags=["core"]
plots.show(plots.threshold_sweep(validation),
           alt="As the threshold rises, sensitivity falls and specificity rises; their mean is best in between")

# %% [markdown] tags=["core"]
# Go from left to right: the demand rises, sensitivity falls, specificity climbs. Their mean is the balanced
# accuracy. We take its highest point, here and only here.

# %% tags=["core"]
threshold = evaluation.best_threshold(validation["label"], validation["probability"])
round(threshold, 3)

# %% [markdown] tags=["core"]
# The [ROC curve](glossary.md#roc-curve) draws the same sweep without the thresholds: sensitivity against the
# share of false alarms. Chance is the diagonal.
#
# **Predict, then run**: where in the picture would a perfect network be?

# %% tags=["core"]
plots.show(plots.roc({"plain": plain_validation, "augmented": validation}),
           alt="ROC curves on validation: both networks come close to the upper left corner")

# %% [markdown] tags=["core"]
# A perfect network goes through the upper left corner: all found, no false alarm.
#
# The area under the curve, [AUC](glossary.md#auc), is one number for the whole sweep. It has a plain meaning:
# take an ill and a healthy image at random; AUC is the chance that the ill one gets the higher probability (a tie
# counts half).
#
# ### Exercise 6.2
#
# `higher` compares every ill image with every healthy one. Compute AUC from it, without scikit-learn.

# %% tags=["core"]
ill = validation.loc[validation["label"] == 1, "probability"].to_numpy()
healthy = validation.loc[validation["label"] == 0, "probability"].to_numpy()
higher = ill[:, None] > healthy[None, :]

# %% tags=["exercise", "core"]
auc = ...  # replace the dots

# %% tags=["solution", "core"]
auc = higher.mean()

# %% tags=["check", "core"]
exercises.check("06.2", auc, predictions=validation)

# %% [markdown] tags=["further"]
# AUC ignores how many are ill. The [precision-recall curve](glossary.md#precision-recall-curve) does not: its
# baseline is the share of ill children. With three ill of four, any curve looks high. Read it against its
# own baseline.

# %% tags=["further"]
plots.show(plots.precision_recall({"augmented": validation}),
           alt="Precision over recall on validation, far above its baseline, the share of pneumonias")

# %% [markdown] tags=["core"]
# ## Does .8 mean 80 of 100?
#
# A network is [calibrated](glossary.md#calibration) if, of all images that it gives about .8, about 80% are
# ill. **Predict, then run**: will ours be too sure, or not sure enough?

# %% tags=["core"]
table = evaluation.calibration(validation["label"], validation["probability"])
plots.show(plots.calibration(table), alt="Observed share of pneumonia over mean probability, ten bins")

# %% [markdown] tags=["core"]
# Each point gathers the images of one tenth of the scale. On the diagonal the network means what it says;
# below it gives PNEUMONIA too high a probability, above too low a one. *Too sure* is above on the left and below on the
# right; *not sure enough* is the other way round. The bars count the images: where they are few, the point jumps.

# %% [markdown] tags=["core"]
# ## Open the test set
#
# All is chosen: the network and the threshold. Now the exam.
#
# **Predict, then run**: test pictures were taken differently, with other exposure and cropping. Which network falls
# more from validation to test? (The table answers from .5 on; the chosen threshold comes after it.)

# %% tags=["core"]
both = pd.concat({"plain": plain_predictions, "augmented": predictions}, names=["network"])
each = both.groupby(["network", "split"])
exam = pd.DataFrame({key: evaluation.metrics(rows["label"], rows["probability"]) for key, rows in each}).T
exam[["auc", "sensitivity", "specificity", "balanced_accuracy"]].iloc[::-1].round(3)

# %% tags=["core"]
plots.show(plots.roc({f"{network}, {part}": rows for (network, part), rows in each}),
           alt="ROC curves: on test both networks lie below their own curve of validation")

# %% [markdown] tags=["core"]
# Compare each network's validation curve with its own test curve. The gap is the price of other pictures.
# Validation, however clean, looks like training: it can't show this gap.

# %% [markdown] tags=["further"]
# The same on the real images, from runs that are kept in `results/`: our `reference` of notebook 5, not
# cut down, with its augmentation (five seeds) and without (three).
#
# **Predict, then run**: which of the two has the higher AUC in validation?

# %% tags=["further"]
from cxr_utils.replication import grid

real = []
for record in grid.results(course.results()).values():
    name = record["cell"].partition("-honest")[0]
    if name in ("reference", "reference-unaugmented"):
        parts = {part: record["metrics"][part]["at_half"] for part in ("validation", "test")}
        real.append({"network": name, "seed": record["seed"]}
                    | {f"{metric}, {part}": at[metric]["value"] for metric in ("auc", "specificity")
                       for part, at in parts.items()})
real = pd.DataFrame(real).set_index(["network", "seed"])
real.groupby("network").agg(["min", "max"]).round(3).T

# %% [markdown] tags=["further"]
# By AUC in validation both are nearly perfect, the network without augmentation even a little ahead. On test it falls
# further. Whoever had chosen between them by that AUC could have chosen the wrong one. So the choice was made on images
# that imitate a shift, and its [protocol](glossary.md#protocol) was written down before test was opened for it. (Figures
# of a first exploration on test were known by then; the protocol names them.)

# %% [markdown] tags=["core"]
# ### The threshold travels too
#
# **Predict, then run**: how much better would test look with a threshold chosen on test itself?

# %% tags=["core"]
test = predictions[predictions["split"] == "test"]
peeked = evaluation.best_threshold(test["label"], test["probability"])
cuts = {"carried from validation": threshold, "chosen on test": peeked}
pd.DataFrame({name: {"threshold": cut} | evaluation.metrics(test["label"], test["probability"], threshold=cut)
              for name, cut in cuts.items()}).T[["threshold", "balanced_accuracy"]].round(3)

# %% [markdown] tags=["core"]
# The second row is a promise that no hospital can keep: it has no labels to peek at. We report the first.

# %% [markdown] tags=["core"]
# ## How sure are we?
#
# Test is a sample of children. Another sample would give another figure. The
# [bootstrap](glossary.md#bootstrap) imitates that: draw as many *patients* of each class as there are, with
# replacement, compute the figure, repeat. The middle 95% is the [interval](glossary.md#confidence-interval).
#
# Patients, not images: five images of one child are not five independent proofs. (NORMAL numbers are not known to be
# patients. If several are one child, the interval of specificity is too narrow.)

# %% tags=["core"]
plain_test = plain_predictions[plain_predictions["split"] == "test"]
plain_threshold = evaluation.best_threshold(plain_validation["label"], plain_validation["probability"])
intervals = {"augmented": evaluation.bootstrap(test, threshold=threshold, draws=draws, seed=seed),
             "plain": evaluation.bootstrap(plain_test, threshold=plain_threshold, draws=draws, seed=seed)}
reported = ["auc", "balanced_accuracy", "sensitivity", "specificity"]
intervals["augmented"].loc[reported].round(3)

# %% tags=["core"]
plots.show(plots.intervals(intervals, metrics=reported),
           alt="Test figures of both networks with their 95% intervals")

# %% [markdown] tags=["core"]
# The point is the figure, the bar its interval. Two bars that overlap settle nothing: both networks answered the same
# images, so their *difference* can be surer than either bar (a [paired interval](glossary.md#paired-interval): notebook 7). And an interval here
# knows only the chance in drawing children: not another seed, other hospitals, other ages or wrong labels.

# %% [markdown] tags=["further"]
# **Do neighbours resemble each other?** On the real images, NORMAL files whose numbers follow each other can get similar
# answers. To the mean of our five networks, in the series NORMAL2-IM of test, the log-odds of one image and of the next
# correlate by .45 (log-odds: the logarithm of *p* / (1 − *p*) for a probability *p*). Whoever draws number by number
# forgets that. Drawn in blocks of 20 numbers, the interval of our specificity grows: [README](../README.md#limits) has
# both.
#
# **Is the network calibrated?** A logistic curve through the answers has a slope and an intercept; 1 and 0 would be
# calibrated. A slope above 1 says that the answers are too timid. *In the large* below 0 says that, on the whole,
# PNEUMONIA gets too high a probability.
#
# **Predict, then run**: on test, does this network on the whole give PNEUMONIA too high a probability, or too low a one?

# %% tags=["further"]
parts = {part: rows for part, rows in predictions.groupby("split")}
pd.DataFrame({part: evaluation.calibration_slope(rows["label"], rows["probability"])
              for part, rows in parts.items()}).T.round(2)

# %% [markdown] tags=["further"]
# Read the row `test`, column `in_the_large`. Is the slope of validation far above 1? There the classes are nearly apart, so
# nearly any steep curve fits, and the slope tells little.
#
# **Is it worth having?** A [decision curve](glossary.md#decision-curve) asks whether treating those whom the network calls
# ill does more good than treating all or none. Its threshold *t* says what a false alarm costs: *t* / (1 − *t*) of what a
# found case is worth. 62.5% is how test was picked, so look at 10% and 30% ill as well.
#
# **Predict, then run**: where is the network no better than treating all?

# %% tags=["further"]
curve = evaluation.net_benefit(test["label"], test["probability"], prevalence=[None, 0.1, 0.3])
plots.show(plots.decision_curve(curve),
           alt="Net benefit at three prevalences: the fewer are ill, the fewer thresholds at which the network helps")

# %% [markdown] tags=["further"]
# **How to read it**: the network is worth something only where its line is above both others. At low thresholds it and
# *treat all* nearly meet: there everybody would be treated anyway. Where its line falls below *treat none*, using it does
# harm: it raises too many false alarms for the few who are ill.

# %% [markdown] tags=["core"]
# ## What 62.5% hides
#
# In the official test set 390 of 624 images show pneumonia: 62.5%. Think of a clinic where 5 of 100 children
# have it. Sensitivity and specificity may stay; the predictive values won't, for they depend on the
# [prevalence](glossary.md#prevalence).
#
# **Predict, then run**: how much is the answer PNEUMONIA worth at 5%?

# %% tags=["core"]
final = evaluation.metrics(test["label"], test["probability"], threshold=threshold)
worth = evaluation.predictive_values(final["sensitivity"], final["specificity"], np.linspace(0.01, 0.99, 99))
plots.show(plots.predictive_values(worth),
           alt="Predictive values over prevalence: the positive one collapses where few are ill")

# %% [markdown] tags=["core"]
# Find 62.5% on the axis, then walk left to 5%. The positive predictive value collapses: at a low prevalence
# most alarms are false, with the very same network.

# %% [markdown] tags=["core"]
# ### Exercise 6.3
#
# Of 1,000 children, 50 are ill. With the network's `final["sensitivity"]` and `final["specificity"]`: of
# those called ill, which share is?

# %% tags=["exercise", "core"]
share_ill = ...  # replace the dots

# %% tags=["solution", "core"]
true_alarms = 50 * final["sensitivity"]
false_alarms = 950 * (1 - final["specificity"])
share_ill = true_alarms / (true_alarms + false_alarms)

# %% tags=["check", "core"]
exercises.check("06.3", share_ill, final=final)

# %% [markdown] tags=["further"]
# Doctors do this sum with [likelihood ratios](glossary.md#likelihood-ratio): *odds before × ratio = odds
# after* (odds: ill to healthy, such as 5 to 95). They don't depend on prevalence. A positive ratio above 10 or a
# negative one below .1 changes much; near 1 an answer changes nothing.

# %% tags=["further"]
evaluation.likelihood_ratios(final["sensitivity"], final["specificity"])

# %% [markdown] tags=["core"]
# ## Look at the errors
#
# Figures don't say *what* went wrong. First by kind (where the source knows it), then one by one.
#
# **Predict, then run**: which kind is missed more often, bacteria or virus? (Phantoms draw bacteria as one patch and
# viruses as streaks. For real films that is no rule.)

# %% tags=["core"]
evaluation.by_kind(test, threshold=threshold)

# %% tags=["core"]
wrong = test[(test["probability"] >= threshold) != (test["label"] == 1)].sort_values("probability")
worst = pd.concat([wrong[wrong["label"] == 1].head(4), wrong[wrong["label"] == 0].tail(4)])
pictures = [images.resize(images.read(folder / path), 224) for path in worst["path"]]
titles = [f"{row.kind}: {row.probability:.2f}" for row in worst.itertuples()]
plots.show(plots.image_grid(pictures, titles=titles), alt="The surest errors on test")

# %% [markdown] tags=["core"]
# Each picture with its true kind and its probability of pneumonia: first the surest of the missed, last the
# surest false alarms. Ask of each: is the label doubtful? Is it the exposure? Was a heart or thymus taken for
# a shadow? On real films even radiologists agree poorly about diffuse markings ([Neuman and others,
# 2012](https://doi.org/10.1002/jhm.955)), so an "error" may be the label's.

# %% [markdown] tags=["further"]
# **On the real images errors keep together.** In train and val no NORMAL image has the stamp of notebook 2; in test 18 of
# 234 have it, all of them among the 32 images numbered NORMAL2-IM-0171 to 0271, which look as if they came from that
# machine.
#
# **Predict, then run**: how many of these 32 do our networks call PNEUMONIA? And how many of the other 202 NORMAL images?

# %% tags=["further"]
found = pd.DataFrame(files.read_json(course.results() / "acquisition.json")["networks"]).set_index("network")
shown = {"false_positives_run": "wrong of the 32", "false_positives_others": "wrong of the other 202",
         "accuracy_test": "accuracy", "accuracy_without_run": "accuracy without the 32"}
found[list(shown)].rename(columns=shown).round(3)

# %% [markdown] tags=["further"]
# A row that ends in `honest` is a mean over seeds. Each network, and even the eight statistics, calls most of the 32 images
# PNEUMONIA, and a smaller share of the others. Does the look of a machine that goes with the label in training mislead
# them? That is a guess. We chose this range *after* we had seen the errors, so it shows where they are, not why.

# %% [markdown] tags=["core"]
# ## What went wrong in published work
#
# **Shuffled answers.** The notebook of system 001 (`batchnorm_224`) reports a test accuracy of .83 and, for the same network, a
# report that says .59. The predictions came from a generator that shuffled; the labels did not. Let us do the
# same. **Predict, then run**: which accuracy is left?

# %% tags=["core"]
rng = np.random.default_rng(seed)
pairs = {"in step": test["probability"], "out of step": rng.permutation(test["probability"])}
accuracy = {name: evaluation.metrics(test["label"], scores)["accuracy"] for name, scores in pairs.items()}
pd.Series(accuracy, name="accuracy").to_frame()

# %% [markdown] tags=["core"]
# Far from zero: most images are ill, most answers are PNEUMONIA, so many pairs agree by chance. It looks like
# a result. Our labels travel with their predictions.
#
# **Test used as validation.** Three of the five published systems gave the test set to `fit` as validation data, and
# reported a figure from there. As coded they keep the last epoch all the same. Whoever *picks* an epoch or a threshold on
# test reports the best of many looks.

# %% [markdown] tags=["further"]
# **Sixteen images.** As far as we know none of the five validates on the folder `val`. But it is there, and tempting. It
# has 16 images, and a network gets all of them right. How bad could it be?
#
# **Predict, then run**: a network that is right in a share *p* of all cases gets 16 of 16 right with
# probability *p*¹⁶. For which *p* is that as rare as 2.5%?

# %% tags=["further", "nbval-check-output"]
lowest = 0.025 ** (1 / 16)
print(f"16 of 16 right: the 95% interval (Clopper-Pearson) goes from {lowest:.1%} to 100%")

# %% [markdown] tags=["core"]
# ## Write it down
#
# `metrics.json` in the run's folder holds the figures and their intervals; the course's last lines read it.

# %% tags=["core"]
record = evaluation.evaluate(run, predictions)
evaluation.evaluate(plain_run, plain_predictions)
sorted(record)

# %% tags=["core"]
auc_interval = intervals["augmented"].loc["auc"]
course.beside_real("06_evaluate", {
    "AUC, plain: validation": exam.loc[("plain", "validation"), "auc"],
    "AUC, plain: test": exam.loc[("plain", "test"), "auc"],
    "AUC, augmented: validation": exam.loc[("augmented", "validation"), "auc"],
    "AUC, augmented: test": exam.loc[("augmented", "test"), "auc"],
    "its 95% interval": f"{auc_interval['low']:.3f} to {auc_interval['high']:.3f}",
    "sensitivity on test, threshold from validation": final["sensitivity"],
    "specificity on test, threshold from validation": final["specificity"],
}, run_dir=run_dir, source=source)

# %% [markdown] tags=["core"]
# ## What to remember
#
# - Sensitivity and specificity describe the network; predictive values describe it *at a prevalence*.
# - Choose without test: the threshold on validation, the network there or by a reason stated before. Read test once.
# - Give every figure its interval, drawn over patients.
# - Look at the errors. And a good figure here is no proof for another hospital: a network trained on these
#   images has been reported at AUC .95 here and .54 on children of the same age elsewhere
#   ([Xin, Li, Yi, 2021](https://doi.org/10.1007/s10140-021-01954-x)).
#
# You have gone the whole way from a file to a figure that can be trusted. It is a lesson, not a medical
# device. Next: [07 Replicate](07_replicate.ipynb), where we ask the same of published figures.
