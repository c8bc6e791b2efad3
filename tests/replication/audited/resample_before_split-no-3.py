import os
import numpy as np
from PIL import Image
from sklearn.model_selection import train_test_split
from tensorflow import keras


def load_everything(root):
    X, Y = [], []
    for lab, cls in enumerate(('NORMAL', 'PNEUMONIA')):
        for f in sorted(os.listdir(root + '/' + cls)):
            im = Image.open(root + '/' + cls + '/' + f).convert('L').resize((112, 112))
            X.append(np.array(im, dtype='float32') / 255)
            Y.append(lab)
    return np.array(X)[..., None], np.array(Y)


def augment_all(X, Y):
    # flipped and noisy copies, and the small class twice
    flipped = X[:, :, ::-1]
    noisy = np.clip(X + np.random.normal(0, 0.02, X.shape), 0, 1)
    small = Y == np.argmin(np.bincount(Y))
    bigX = np.concatenate([X, flipped, noisy[small]])
    bigY = np.concatenate([Y, Y, Y[small]])
    return bigX, bigY


def network():
    m = keras.Sequential()
    m.add(keras.layers.Conv2D(24, 3, strides=2, activation='relu', input_shape=(112, 112, 1)))
    m.add(keras.layers.Conv2D(48, 3, strides=2, activation='relu'))
    m.add(keras.layers.GlobalAveragePooling2D())
    m.add(keras.layers.Dense(1, activation='sigmoid'))
    m.compile(optimizer='adam', loss='binary_crossentropy', metrics=['accuracy'])
    return m


X, Y = load_everything('chest_xray/train')
X, X_hold, Y, Y_hold = train_test_split(X, Y, test_size=0.15, random_state=0)
X, Y = augment_all(X, Y)
print('training images after augmentation', len(X))

m = network()
m.fit(X, Y, batch_size=64, epochs=20, validation_data=(X_hold, Y_hold))
Xt, Yt = load_everything('chest_xray/test')
print('test', m.evaluate(Xt, Yt, verbose=0))
