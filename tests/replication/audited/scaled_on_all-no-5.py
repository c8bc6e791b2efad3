import glob
import os

import cv2
import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import PCA
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.metrics import classification_report
from sklearn.preprocessing import StandardScaler


def load(part):
    files = sorted(glob.glob(os.path.join('chest_xray', part, '*', '*.jpeg')))
    X = np.array([cv2.resize(cv2.imread(f, 0), (56, 56)).ravel() for f in files], dtype=np.float32)
    y = np.array([os.path.basename(os.path.dirname(f)) for f in files])
    return X, y


def picture(X, y, parts):
    """Look at all images in two dimensions, only for the report's figure."""
    flat = PCA(2).fit_transform(StandardScaler().fit_transform(X))
    for cls in np.unique(y):
        plt.scatter(*flat[y == cls].T, s=3, label=cls)
    plt.legend()
    plt.title(f'{parts} together')
    plt.savefig('overview.png')


X_train, y_train = load('train')
X_test, y_test = load('test')
picture(np.vstack([X_train, X_test]), np.hstack([y_train, y_test]), 'train and test')

trees = ExtraTreesClassifier(n_estimators=400, class_weight='balanced', n_jobs=-1)
trees.fit(X_train, y_train)
print(classification_report(y_test, trees.predict(X_test)))
