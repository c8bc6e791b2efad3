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

# %% [markdown]
# # A cell of the grid
#
# One recipe, one protocol, one seed: one training and one evaluation. `cxr replicate` executes this notebook once
# a cell, with other parameters each time; it can be run by hand, too.

# %% tags=["parameters"]
recipe = "plain_64"
protocol = "honest"  # or "published": as its authors did, mistakes included; or "fold1" to "fold5"
seed = 0
source = "sample"  # "sample", "folder", "kaggle" or "medmnist"
data_dir = "data"
out = "runs/rehearsal"  # what is kept
work = "runs/rehearsal/work"  # the run folder, which a later call resumes
rehearsal = True  # smaller pictures, fewer filters and epochs: tries the way, says nothing about the recipe

# %%
import pandas as pd

from cxr_utils import dataset, evaluation, files, images, plots, sources, splits, training
from cxr_utils.replication import grid, replicate

cell = replicate.cell(recipe, protocol, seed, rehearsal=rehearsal)
plots.style(source)
cell

# %% [markdown]
# ## What is trained
#
# The last column says why, where the authors published nothing and the choice is ours.

# %%
folder = sources.fetch(source, data_dir=data_dir)
index = dataset.scan(folder)
chosen = cell.get_recipe(index)
chosen.table()

# %% [markdown]
# ## On which images
#
# The split is that of the protocol. Its digest and everything else that decides the result make the cell's identity.

# %%
split = cell.split(index)
identity = cell.identity(split, index)
print(grid.image_source(source, index))
print(f"split {splits.digest(split)}, identity {identity}, looked at while training: {cell.validate_on}")
splits.sizes(split)

# %% [markdown]
# ## Train
#
# After an interruption this goes on after the last whole epoch; a finished training is only opened.

# %%
mine = index[index["path"].isin(split["path"])].reset_index(drop=True)  # folds leave the official test set closed
pixels = images.cache(mine, folder, size=chosen.image_size, interpolation=chosen.interpolation)
run = training.fit(
    chosen,
    pixels,
    split,
    run_dir=files.resolve(work) / f"{cell.name}-{identity}",
    seed=seed,
    protocol=protocol,
    validate_on=cell.validate_on,
    image_source=grid.image_source(source, index),
)
facts = ("parameters", "epochs_run", "seconds", "precision", "backend")
pd.Series({name: run.record[name] for name in facts}, name="training")

# %%
plots.show(
    plots.learning_curves(run.history),
    f"Accuracy and loss of {cell.name} over {len(run.history)} epochs, in training and on the {cell.validate_on} part.",
)

# %% [markdown]
# ## Evaluate
#
# The reading of test (or of the fold that was held out) goes to the ledger first. Then predictions and, last, the result
# are written: with that file the cell is done.

# %%
path = grid.evaluate(cell, run, pixels, split, index=index, out=out, source=grid.image_source(source, index))
record = files.read_json(path)
print(path)
print(f"kept epoch: {record['kept_epoch']}; threshold from validation: {record['metrics']['threshold']:.3f}")

# %%
# Where a system was validated on test, that mistake is repeated here: the first columns are test, too.
columns = {
    (part, how): {name: f"{m['value']:.3f} ({m['low']:.3f} to {m['high']:.3f})" for name, m in found[how].items()
                  if m["value"] is not None}
    for part, found in record["metrics"].items() if part != "threshold"
    for how in ("at_half", "at_threshold")
}  # fmt: skip
pd.DataFrame(columns)

# %%
predictions = evaluation.read_predictions(path.with_name(f"{cell.name}.predictions.csv.gz"))
parts = {part: predictions[predictions["split"] == part] for part in sorted(set(predictions["split"]))}
auc = ", ".join(f"{record['metrics'][p]['at_half']['auc']['value']:.3f} on {p}" for p in sorted(parts, reverse=True))
plots.show(plots.roc(parts), f"ROC curves of {cell.name}; area under the curve: {auc}.")
