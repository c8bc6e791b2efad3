import os
import numpy as np
from PIL import Image
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import classification_report
from sklearn.model_selection import GridSearchCV

HOME = 'chest_xray'


def flat(part):
    X, y = [], []
    for root, dirs, names in os.walk(os.path.join(HOME, part)):
        for n in names:
            if n.endswith('.jpeg'):
                X.append(np.asarray(Image.open(os.path.join(root, n)).convert('L').resize((40, 40))).ravel() / 255)
                y.append(os.path.basename(root))
    return np.array(X), np.array(y)


X_train, y_train = flat('train')
X_test, y_test = flat('test')

searches = {
    'logistic': GridSearchCV(LogisticRegression(max_iter=3000), {'C': [0.001, 0.01, 0.1, 1]}, cv=5),
    'forest': GridSearchCV(RandomForestClassifier(), {'n_estimators': [100, 300], 'max_depth': [None, 10]}, cv=5),
}
best_score = 0
for name, s in searches.items():
    s.fit(X_train, y_train)
    print(name, s.best_params_, s.best_score_)
    if s.best_score_ > best_score:
        best_score, best_name = s.best_score_, name

best_model = searches[best_name].best_estimator_
print('best model', best_name)
print('test score', best_model.score(X_test, y_test))
print(classification_report(y_test, best_model.predict(X_test)))
