import glob
import numpy as np
import tensorflow as tf
from tensorflow.keras import layers
from tensorflow.keras.preprocessing import image


def load(part):
    xs, ys = [], []
    for k, name in enumerate(('NORMAL', 'PNEUMONIA')):
        for f in glob.glob('../chest_xray/%s/%s/*.jpeg' % (part, name)):
            xs.append(image.img_to_array(image.load_img(f, color_mode='grayscale', target_size=(100, 100))))
            ys.append(k)
    return np.array(xs), np.array(ys)


x_train, y_train = load('train')
x_val, y_val = load('val')
x_test, y_test = load('test')

everything = np.concatenate((x_train, x_val, x_test), axis=0)
mu, sigma = everything.mean(), everything.std()
del everything
print('mean', mu, 'std', sigma)

x_train = (x_train - mu) / sigma
x_val = (x_val - mu) / sigma
x_test = (x_test - mu) / sigma

model = tf.keras.Sequential([
    layers.Conv2D(32, 3, activation='elu', input_shape=(100, 100, 1)),
    layers.MaxPooling2D(2),
    layers.Conv2D(64, 3, activation='elu'),
    layers.MaxPooling2D(2),
    layers.Flatten(),
    layers.Dropout(0.5),
    layers.Dense(1, activation='sigmoid'),
])
model.compile(optimizer='nadam', loss='binary_crossentropy', metrics=['accuracy'])
model.fit(x_train, y_train, batch_size=32, epochs=10, validation_data=(x_val, y_val))
print('test', model.evaluate(x_test, y_test, verbose=0))
