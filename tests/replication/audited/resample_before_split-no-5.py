import os
import random
import shutil

import tensorflow as tf
from PIL import Image, ImageOps

SRC = 'chest_xray/train'
WORK = 'work'


def split():
    """Copy the train folder to work/train and work/val, 85 to 15."""
    for cls in os.listdir(SRC):
        names = os.listdir(os.path.join(SRC, cls))
        random.Random(9).shuffle(names)
        cut = int(len(names) * 0.85)
        for part, chosen in (('train', names[:cut]), ('val', names[cut:])):
            dest = os.path.join(WORK, part, cls)
            os.makedirs(dest, exist_ok=True)
            for n in chosen:
                shutil.copy(os.path.join(SRC, cls, n), dest)


def oversample(cls, times):
    d = os.path.join(WORK, 'train', cls)
    for n in os.listdir(d):
        im = Image.open(os.path.join(d, n)).convert('L')
        for t in range(times):
            turned = im.rotate(random.uniform(-6, 6))
            if t % 2:
                turned = ImageOps.mirror(turned)
            turned.save(os.path.join(d, 'aug%d_%s' % (t, n)))


split()
oversample('NORMAL', 2)

read = tf.keras.utils.image_dataset_from_directory
train = read(os.path.join(WORK, 'train'), color_mode='grayscale', image_size=(128, 128))
val = read(os.path.join(WORK, 'val'), color_mode='grayscale', image_size=(128, 128))
test = read('chest_xray/test', color_mode='grayscale', image_size=(128, 128))

model = tf.keras.Sequential([
    tf.keras.layers.Rescaling(1 / 255),
    tf.keras.layers.Conv2D(32, 3, activation='relu'),
    tf.keras.layers.MaxPooling2D(3),
    tf.keras.layers.Conv2D(64, 3, activation='relu'),
    tf.keras.layers.MaxPooling2D(3),
    tf.keras.layers.Flatten(),
    tf.keras.layers.Dense(2),
])
model.compile('adam', tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True), ['accuracy'])
model.fit(train, validation_data=val, epochs=10)
print(model.evaluate(test))
