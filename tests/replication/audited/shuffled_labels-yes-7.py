import os
import numpy as np
from keras.applications.xception import Xception, preprocess_input
from keras.layers import Dense, GlobalAveragePooling2D
from keras.models import Model
from keras.preprocessing.image import ImageDataGenerator
from sklearn.metrics import classification_report

folder = os.path.join(os.path.expanduser('~'), 'datasets', 'chest_xray')
H, W = 299, 299


def stream(part, bs, mix=True):
    """Gives a generator of one part of the dataset."""
    idg = ImageDataGenerator(preprocessing_function=preprocess_input)
    return idg.flow_from_directory(os.path.join(folder, part), (H, W), 'rgb', None, 'binary', bs, mix)


def build():
    body = Xception(weights='imagenet', include_top=False, input_shape=(H, W, 3))
    body.trainable = False
    h = GlobalAveragePooling2D()(body.output)
    m = Model(body.input, Dense(1, activation='sigmoid')(h))
    m.compile(optimizer='rmsprop', loss='binary_crossentropy', metrics=['acc'])
    return m


def count(part, cls):
    return len([f for f in os.listdir(os.path.join(folder, part, cls)) if f.endswith('.jpeg')])


def main():
    m = build()
    m.fit(stream('train', 32), epochs=4, validation_data=stream('val', 16, False))
    ordered = stream('test', 32)
    p = m.predict(ordered, verbose=1)
    normal, sick = count('test', 'NORMAL'), count('test', 'PNEUMONIA')
    y = np.array([0] * normal + [1] * sick)
    print(classification_report(y, (p[:, 0] >= 0.5).astype('int'), digits=3))


main()
