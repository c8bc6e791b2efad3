import os
import numpy as np
from keras import layers, models
from keras.preprocessing.image import ImageDataGenerator, img_to_array, load_img
from sklearn.metrics import classification_report

ROOT = os.path.join(os.getcwd(), 'chest_xray')
train_datagen = ImageDataGenerator(featurewise_center=True, featurewise_std_normalization=True, zoom_range=0.1)


def sample_of(part, n):
    """Some images to estimate the statistics."""
    rng = np.random.default_rng(0)
    files = [os.path.join(ROOT, part, c, f) for c in ('NORMAL', 'PNEUMONIA')
             for f in os.listdir(os.path.join(ROOT, part, c))]
    return np.array([img_to_array(load_img(f, target_size=(112, 112))) for f in rng.choice(files, n, replace=False)])


data = sample_of('train', 800)
train_datagen.fit(data)
print('mean', train_datagen.mean.ravel(), 'std', train_datagen.std.ravel())

# the other parts get the same mean and std
plain_datagen = ImageDataGenerator(featurewise_center=True, featurewise_std_normalization=True)
plain_datagen.fit(data)


def flow(datagen, part, mix):
    return datagen.flow_from_directory(os.path.join(ROOT, part), target_size=(112, 112),
                                       class_mode='binary', shuffle=mix)


train = flow(train_datagen, 'train', True)
val = flow(plain_datagen, 'val', False)
test = flow(plain_datagen, 'test', False)

net = models.Sequential([
    layers.Conv2D(32, 3, activation='relu', input_shape=(112, 112, 3)),
    layers.MaxPooling2D(),
    layers.Conv2D(64, 3, activation='relu'),
    layers.GlobalAveragePooling2D(),
    layers.Dense(1, activation='sigmoid'),
])
net.compile('adam', 'binary_crossentropy', metrics=['accuracy'])
net.fit(train, validation_data=val, epochs=10)
print(classification_report(test.classes, net.predict(test).ravel() > 0.5))
