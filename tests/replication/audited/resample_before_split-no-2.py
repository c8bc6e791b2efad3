import glob
import os

import numpy as np
from imblearn.over_sampling import SMOTE
from imblearn.pipeline import Pipeline
from skimage import io, transform
from sklearn.model_selection import StratifiedKFold, cross_validate
from sklearn.neighbors import KNeighborsClassifier


def read_all(base):
    xs, ys = [], []
    for f in glob.glob(os.path.join(base, '*', '*.jpeg')):
        im = transform.resize(io.imread(f, as_gray=True), (40, 40), anti_aliasing=True)
        xs.append(im.reshape(-1))
        ys.append(os.path.basename(os.path.dirname(f)) == 'PNEUMONIA')
    return np.array(xs), np.array(ys, dtype=int)


X, y = read_all('chest_xray/train')
print(X.shape, y.mean())

model = Pipeline([
    ('oversample', SMOTE(random_state=2)),
    ('knn', KNeighborsClassifier(n_neighbors=7)),
])
res = cross_validate(model, X, y, cv=StratifiedKFold(5, shuffle=True, random_state=2),
                     scoring=['accuracy', 'balanced_accuracy', 'roc_auc'])
for key in res:
    if key.startswith('test_'):
        print(key, res[key].mean().round(3), res[key].std().round(3))

model.fit(X, y)
X_test, y_test = read_all('chest_xray/test')
print('held out folder', model.score(X_test, y_test))
