import os
import cv2
import numpy as np
from sklearn.feature_selection import SelectKBest, f_classif
from sklearn.metrics import accuracy_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

base = './chest_xray/'
X, y = [], []
for part in ['train', 'test', 'val']:
    for label in ['NORMAL', 'PNEUMONIA']:
        for file in os.listdir(base + part + '/' + label):
            img = cv2.imread(base + part + '/' + label + '/' + file, 0)
            if img is not None:
                X.append(cv2.resize(img, (60, 60)).flatten() / 255)
                y.append(label)
X = np.array(X)
y = np.array(y)

X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2, random_state=0, stratify=y)

scaler = StandardScaler()
X_train = scaler.fit_transform(X_train)
X_test = scaler.transform(X_test)
select = SelectKBest(f_classif, k=500)
X_train = select.fit_transform(X_train, y_train)
X_test = select.transform(X_test)

svm = SVC()
svm.fit(X_train, y_train)
print('Accuracy:', accuracy_score(y_test, svm.predict(X_test)))
