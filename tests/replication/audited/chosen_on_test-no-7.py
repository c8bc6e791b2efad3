import glob
import numpy as np
from skimage.feature import local_binary_pattern
from skimage.io import imread
from skimage.transform import resize
from sklearn.metrics import accuracy_score
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier


def features(f):
    im = (resize(imread(f, as_gray=True), (200, 200)) * 255).astype('uint8')
    blocks = [b for row in np.array_split(local_binary_pattern(im, 8, 1, 'uniform'), 4) for b in np.array_split(row, 4, 1)]
    return np.concatenate([np.histogram(b, bins=10, range=(0, 10))[0] for b in blocks])


def get(part):
    X, y = [], []
    for c in (0, 1):
        for f in glob.glob('chest_xray/' + part + '/' + ['NORMAL', 'PNEUMONIA'][c] + '/*'):
            X.append(features(f))
            y.append(c)
    return np.array(X), np.array(y)


X, y = get('train')
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2, random_state=0)

best_k, best_acc = None, 0
for k in [1, 3, 5, 7, 9, 15, 25]:
    clf = KNeighborsClassifier(n_neighbors=k)
    clf.fit(X_train, y_train)
    acc = accuracy_score(y_test, clf.predict(X_test))
    print('k =', k, 'accuracy', acc)
    if acc > best_acc:
        best_k, best_acc = k, acc

# now the images of the folder test, not seen until here
final = KNeighborsClassifier(n_neighbors=best_k).fit(X, y)
X_final, y_final = get('test')
print('final accuracy with k =', best_k, ':', accuracy_score(y_final, final.predict(X_final)))
