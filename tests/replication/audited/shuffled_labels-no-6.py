import os
import cv2
import numpy as np
from sklearn.metrics import classification_report
from sklearn.utils import shuffle
from tensorflow.keras import layers, Sequential

labels = ['PNEUMONIA', 'NORMAL']
img_size = 100


def get_data(data_dir):
    images, targets = [], []
    for label in labels:
        folder = os.path.join(data_dir, label)
        for name in os.listdir(folder):
            arr = cv2.imread(os.path.join(folder, name), cv2.IMREAD_GRAYSCALE)
            if arr is None:
                continue
            images.append(cv2.resize(arr, (img_size, img_size)))
            targets.append(labels.index(label))
    images = np.array(images)[..., np.newaxis] / 255.0
    targets = np.array(targets)
    return shuffle(images, targets)


x_train, y_train = get_data('../input/chest_xray/train')
x_val, y_val = get_data('../input/chest_xray/val')
x_test, y_test = get_data('../input/chest_xray/test')

order = np.random.permutation(len(x_test))
x_test = x_test[order]
y_test = y_test[order]

model = Sequential([
    layers.Conv2D(32, 3, activation='relu', padding='same', input_shape=(img_size, img_size, 1)),
    layers.BatchNormalization(),
    layers.MaxPool2D(2),
    layers.Conv2D(64, 3, activation='relu', padding='same'),
    layers.MaxPool2D(2),
    layers.Flatten(),
    layers.Dense(1, activation='sigmoid'),
])
model.compile(optimizer='rmsprop', loss='binary_crossentropy', metrics=['accuracy'])
model.fit(x_train, y_train, batch_size=32, epochs=12, shuffle=True, validation_data=(x_val, y_val))

pred = (model.predict(x_test) > 0.5).astype('int32').reshape(-1)
print(classification_report(y_test, pred, target_names=['Pneumonia (0)', 'Normal (1)']))
