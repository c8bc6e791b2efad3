"""Every figure of the course: thin functions that take a table or arrays and return an Axes or a Figure.

Pass the result to `show`, with a sentence that says the same to those who can't see it. Where a function has
the option `ax`, it draws there; else it makes a figure of its own. Colours are safe for colour-blind
readers; lines and points differ in style too.
"""

# isort: off
from cxr_utils.plots._base import CLASS_COLOURS, KIND_COLOURS, LINES, MARK, render, show, style
from cxr_utils.plots.data import (class_counts, class_shares, image_sizes, images_per_patient, intensity_histograms,
                                  leak_bars, shortcut_bars)  # fmt: skip
from cxr_utils.plots.models import comparison, descent, learning_curves
from cxr_utils.plots.pictures import (feature_maps, heat_maps, image_grid, kernel_steps, mean_images, resize_comparison,
                                      smote_triplet)  # fmt: skip
from cxr_utils.plots.replication import claim_forest, mistakes_worth, validation_against_test
from cxr_utils.plots.results import (calibration, confusion, decision_curve, intervals, precision_recall,
                                     predictive_values, roc, score_histogram, threshold_sweep)  # fmt: skip
