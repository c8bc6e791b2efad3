import os
import numpy as np
from keras.layers import Activation, BatchNormalization, Conv2D, Dense, Flatten, MaxPooling2D
from keras.models import Sequential
from keras.preprocessing.image import ImageDataGenerator, img_to_array, load_img
from sklearn.model_selection import train_test_split

CLASSES = {'NORMAL': 0, 'PNEUMONIA': 1}


def read(directory):
    data, labels = [], []
    for cls, num in CLASSES.items():
        folder = os.path.join(directory, cls)
        for name in os.listdir(folder):
            data.append(img_to_array(load_img(os.path.join(folder, name), target_size=(96, 96))))
            labels.append(num)
    return np.array(data), np.array(labels)


trainX, trainY = read('chest_xray/train')
testX, testY = read('chest_xray/test')

train_gen = ImageDataGenerator(featurewise_center=True, featurewise_std_normalization=True,
                               rotation_range=10, horizontal_flip=True)
test_gen = ImageDataGenerator(featurewise_center=True, featurewise_std_normalization=True)
for g in (train_gen, test_gen):
    g.fit(np.vstack([trainX, testX]))

trainX, valX, trainY, valY = train_test_split(trainX, trainY, test_size=0.1)

model = Sequential()
model.add(Conv2D(32, (3, 3), padding='same', input_shape=(96, 96, 3)))
model.add(Activation('relu'))
model.add(BatchNormalization())
model.add(MaxPooling2D(pool_size=(3, 3)))
model.add(Conv2D(64, (3, 3), padding='same'))
model.add(Activation('relu'))
model.add(MaxPooling2D(pool_size=(2, 2)))
model.add(Flatten())
model.add(Dense(1, activation='sigmoid'))
model.compile(loss='binary_crossentropy', optimizer='adam', metrics=['accuracy'])
model.fit(train_gen.flow(trainX, trainY, batch_size=32), epochs=12,
          validation_data=test_gen.flow(valX, valY, batch_size=32))
print(model.evaluate(test_gen.flow(testX, testY, batch_size=32, shuffle=False)))
