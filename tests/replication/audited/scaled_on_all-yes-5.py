"""Texture features of chest x-rays, the 20 best of them, three classifiers."""
import glob
import os

import numpy as np
import pandas as pd
from skimage.feature import graycomatrix, graycoprops
from skimage.io import imread
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.feature_selection import SelectKBest, f_classif
from sklearn.model_selection import cross_val_score
from sklearn.naive_bayes import GaussianNB
from sklearn.tree import DecisionTreeClassifier

PROPS = ['contrast', 'dissimilarity', 'homogeneity', 'energy', 'correlation', 'ASM']


def texture(file):
    im = imread(file)
    if im.ndim == 3:
        im = im[..., 0]
    g = graycomatrix(im, [1, 3, 5], [0, np.pi / 4, np.pi / 2, 3 * np.pi / 4], 256, True, True)
    return np.hstack([graycoprops(g, p).ravel() for p in PROPS])


def build_table(csv='texture.csv'):
    if os.path.exists(csv):
        return pd.read_csv(csv)
    files = glob.glob(os.path.join('chest_xray', 'train', '*', '*.jpeg'))
    t = pd.DataFrame([texture(f) for f in files])
    t['label'] = [os.path.split(os.path.dirname(f))[1] for f in files]
    t.to_csv(csv, index=False)
    return t


table = build_table()
y = (table.pop('label') == 'PNEUMONIA').astype(int)
selected = SelectKBest(f_classif, k=20).fit_transform(table, y)
print(selected.shape)

for clf in (GaussianNB(), DecisionTreeClassifier(max_depth=6), GradientBoostingClassifier()):
    s = cross_val_score(clf, selected, y, cv=10)
    print(type(clf).__name__, 'accuracy of 10 folds: %.3f (%.3f)' % (s.mean(), s.std()))
