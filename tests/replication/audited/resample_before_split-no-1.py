import os
import cv2
import numpy as np
from collections import Counter
from imblearn.over_sampling import SMOTE
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import classification_report
from sklearn.model_selection import train_test_split

folder = 'chest_xray/train'
data, target = [], []
for category in os.listdir(folder):
    if category not in ('NORMAL', 'PNEUMONIA'):
        continue
    for img in os.listdir(os.path.join(folder, category)):
        pic = cv2.imread(os.path.join(folder, category, img), cv2.IMREAD_GRAYSCALE)
        if pic is not None:
            data.append(cv2.resize(pic, (50, 50)).ravel() / 255)
            target.append(1 if category == 'PNEUMONIA' else 0)

X = np.array(data)
y = np.array(target)
sampler = SMOTE(k_neighbors=3)

X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2, stratify=y, random_state=1)
print('train before', Counter(y_train))
X_train, y_train = sampler.fit_resample(X_train, y_train)
print('train after', Counter(y_train))
print('test untouched', Counter(y_test))

clf = LogisticRegression(max_iter=2000)
clf.fit(X_train, y_train)
print(classification_report(y_test, clf.predict(X_test)))
