"""Classical features (HOG) and a linear SVM with 5 folds."""
import glob

import numpy as np
from skimage.feature import hog
from skimage.io import imread
from skimage.transform import resize
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.svm import LinearSVC
from sklearn.utils import resample, shuffle

FOLDERS = {'NORMAL': 0, 'PNEUMONIA': 1}


def describe(file):
    image = resize(imread(file, as_gray=True), (128, 128))
    return hog(image, orientations=8, pixels_per_cell=(16, 16), cells_per_block=(1, 1))


def load():
    feats = {}
    for name, code in FOLDERS.items():
        files = sorted(glob.glob('chest_xray/train/' + name + '/*'))
        feats[code] = np.array([describe(f) for f in files])
    return feats


def balance(feats):
    target = max(len(v) for v in feats.values())
    xs, ys = [], []
    for code, v in feats.items():
        if len(v) < target:
            v = resample(v, replace=True, n_samples=target, random_state=11)
        xs.append(v)
        ys.append(np.full(target, code))
    return shuffle(np.vstack(xs), np.hstack(ys), random_state=11)


def main():
    x, y = balance(load())
    print('balanced', x.shape, np.bincount(y))
    folds = StratifiedKFold(n_splits=5)
    for metric in ('accuracy', 'recall', 'roc_auc'):
        scores = cross_val_score(LinearSVC(C=0.1, max_iter=5000), x, y, cv=folds, scoring=metric)
        print(f'{metric}: {scores.mean():.3f} +- {scores.std():.3f}')


if __name__ == '__main__':
    main()
