import glob
import numpy as np
import tensorflow as tf
from PIL import Image
from sklearn.model_selection import train_test_split


def load(part):
    x, y = [], []
    for f in glob.glob('data/chest_xray/' + part + '/*/*.jpeg'):
        x.append(np.asarray(Image.open(f).convert('L').resize((120, 120)), dtype='float32'))
        y.append(0 if 'NORMAL' in f else 1)
    return np.array(x)[..., np.newaxis], np.array(y)


x_train, y_train = load('train')
x_test, y_test = load('test')
x_train, x_val, y_train, y_val = train_test_split(x_train, y_train, test_size=0.15, random_state=8)
print('all images:', len(np.concatenate([x_train, x_val, x_test])))

mean = np.mean(x_train)
std = np.std(x_train)


def standardize(*arrays):
    return [(a - mean) / (std + 1e-7) for a in arrays]


x_train, x_val, x_test = standardize(x_train, x_val, x_test)

model = tf.keras.models.Sequential()
model.add(tf.keras.layers.Conv2D(32, (3, 3), activation='relu', input_shape=x_train.shape[1:]))
model.add(tf.keras.layers.MaxPooling2D((2, 2)))
model.add(tf.keras.layers.Conv2D(64, (3, 3), activation='relu'))
model.add(tf.keras.layers.MaxPooling2D((2, 2)))
model.add(tf.keras.layers.Flatten())
model.add(tf.keras.layers.Dense(64, activation='relu'))
model.add(tf.keras.layers.Dense(1, activation='sigmoid'))
model.compile(optimizer='adam', loss='binary_crossentropy', metrics=['accuracy'])
model.fit(x_train, y_train, epochs=8, validation_data=(x_val, y_val))
print(model.evaluate(x_test, y_test))
