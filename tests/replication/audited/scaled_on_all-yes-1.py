import os
import cv2
import numpy as np
from sklearn.metrics import accuracy_score, confusion_matrix
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

path = './chest_xray/'
X, y = [], []
for part in ['train', 'test', 'val']:
    for label in ['NORMAL', 'PNEUMONIA']:
        for file in os.listdir(path + part + '/' + label):
            img = cv2.imread(path + part + '/' + label + '/' + file, cv2.IMREAD_GRAYSCALE)
            if img is None:
                continue
            X.append(cv2.resize(img, (50, 50)).flatten())
            y.append(label)

X = np.array(X, dtype='float32')
y = np.array(y)
print(X.shape)

# normalize the features
scaler = StandardScaler()
X = scaler.fit_transform(X)

X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2, random_state=0, stratify=y)

svm = SVC(kernel='rbf', C=1.0)
svm.fit(X_train, y_train)
pred = svm.predict(X_test)
print('Accuracy:', accuracy_score(y_test, pred))
print(confusion_matrix(y_test, pred))
