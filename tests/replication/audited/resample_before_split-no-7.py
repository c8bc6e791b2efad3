import os
import cv2
import numpy as np
from imblearn.over_sampling import BorderlineSMOTE
from keras.layers import Conv2D, Dense, Flatten, MaxPooling2D, Reshape
from keras.models import Sequential

S = 80
PARTS = ['train', 'val', 'test']
data = {}
for part in PARTS:
    X, y = [], []
    for value, cls in enumerate(['NORMAL', 'PNEUMONIA']):
        here = os.path.join('chest_xray', part, cls)
        for f in os.listdir(here):
            if not f.endswith('.jpeg'):
                continue
            g = cv2.imread(os.path.join(here, f), 0)
            X.append(cv2.resize(g, (S, S)).flatten())
            y.append(value)
    data[part] = (np.array(X) / 255.0, np.array(y))
    print(part, np.bincount(data[part][1]))

X, y = data['train']
X, y = BorderlineSMOTE().fit_resample(X, y)
data['train'] = (X, y)
print('resampled train', np.bincount(y))

net = Sequential([
    Reshape((S, S, 1), input_shape=(S * S,)),
    Conv2D(32, 3, activation='relu'),
    MaxPooling2D(2),
    Conv2D(64, 3, activation='relu'),
    MaxPooling2D(2),
    Flatten(),
    Dense(64, activation='relu'),
    Dense(1, activation='sigmoid'),
])
net.compile(optimizer='adam', loss='binary_crossentropy', metrics=['accuracy'])
net.fit(*data['train'], epochs=10, batch_size=64, validation_data=data['val'])
print('test:', net.evaluate(*data['test']))
