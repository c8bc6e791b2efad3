import os
import cv2
import numpy as np
from sklearn.model_selection import train_test_split
from tensorflow.keras import layers, models


def normalize(img):
    # contrast first, then every picture to mean 0 and std 1
    clahe = cv2.createCLAHE(clipLimit=2.0, tileGridSize=(8, 8))
    img = clahe.apply(img).astype('float32')
    return (img - img.mean()) / (img.std() + 1e-6)


def get_all(folder='chest_xray'):
    X, y = [], []
    for part in os.listdir(folder):
        for cls in ('NORMAL', 'PNEUMONIA'):
            d = os.path.join(folder, part, cls)
            if not os.path.isdir(d):
                continue
            for f in os.listdir(d):
                im = cv2.imread(os.path.join(d, f), cv2.IMREAD_GRAYSCALE)
                if im is None:
                    continue
                X.append(normalize(cv2.resize(im, (128, 128))))
                y.append(int(cls == 'PNEUMONIA'))
    return np.array(X)[..., None], np.array(y)


X, y = get_all()
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2, random_state=17)
X_train, X_val, y_train, y_val = train_test_split(X_train, y_train, test_size=0.1, random_state=17)

m = models.Sequential([
    layers.Input((128, 128, 1)),
    layers.Conv2D(16, 3, activation='relu'), layers.MaxPooling2D(),
    layers.Conv2D(32, 3, activation='relu'), layers.MaxPooling2D(),
    layers.Conv2D(64, 3, activation='relu'), layers.MaxPooling2D(),
    layers.Flatten(), layers.Dense(1, activation='sigmoid'),
])
m.compile('adam', 'binary_crossentropy', metrics=['accuracy'])
m.fit(X_train, y_train, validation_data=(X_val, y_val), epochs=10, batch_size=32)
print(m.evaluate(X_test, y_test))
