import os
import cv2
import numpy as np
from collections import Counter
from imblearn.over_sampling import SMOTE
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import classification_report
from sklearn.model_selection import train_test_split

path = 'chest_xray/train'
X = []
y = []
for n, category in enumerate(['NORMAL', 'PNEUMONIA']):
    for img in os.listdir(os.path.join(path, category)):
        try:
            pic = cv2.imread(os.path.join(path, category, img), 0)
            pic = cv2.resize(pic, (64, 64))
            X.append(pic.flatten())
            y.append(n)
        except Exception as e:
            print('could not read', img, e)

X = np.array(X) / 255
y = np.array(y)
print('before:', Counter(y))

# The dataset is imbalanced so we use SMOTE
sm = SMOTE(random_state=42)
X_res, y_res = sm.fit_resample(X, y)
print('after:', Counter(y_res))

X_train, X_test, y_train, y_test = train_test_split(X_res, y_res, test_size=0.25, random_state=42)

rf = RandomForestClassifier(n_estimators=200, n_jobs=-1)
rf.fit(X_train, y_train)
y_pred = rf.predict(X_test)
print('train score', rf.score(X_train, y_train))
print('test score', rf.score(X_test, y_test))
print(classification_report(y_test, y_pred))
