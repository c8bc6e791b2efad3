import numpy as np
from sklearn.metrics import classification_report, confusion_matrix
from tensorflow.keras.callbacks import EarlyStopping
from tensorflow.keras.layers import Conv2D, Dense, Flatten, MaxPooling2D
from tensorflow.keras.models import Sequential
from tensorflow.keras.preprocessing.image import ImageDataGenerator

path = 'chest_xray/'
aug = ImageDataGenerator(rescale=1./255, rotation_range=10, validation_split=0.15)
noaug = ImageDataGenerator(rescale=1./255)

training = aug.flow_from_directory(path + 'train', target_size=(128, 128), class_mode='binary', subset='training')
validating = aug.flow_from_directory(path + 'train', target_size=(128, 128), class_mode='binary', subset='validation')
testing = noaug.flow_from_directory(path + 'test', target_size=(128, 128), class_mode='binary', batch_size=1, shuffle=False)

cnn = Sequential([
    Conv2D(32, 3, activation='relu', input_shape=(128, 128, 3)), MaxPooling2D(2),
    Conv2D(32, 3, activation='relu'), MaxPooling2D(2),
    Flatten(),
    Dense(units=128, activation='relu'),
    Dense(units=1, activation='sigmoid'),
])
cnn.compile(optimizer='adam', loss='binary_crossentropy', metrics=['accuracy'])
stop = EarlyStopping(monitor='val_loss', patience=3, restore_best_weights=True)
cnn.fit(training, epochs=20, validation_data=validating, callbacks=[stop])

print('classes of the training images', np.bincount(training.classes))
prediction = cnn.predict(testing, steps=len(testing))
prediction = (prediction > 0.5).astype(int)
print(confusion_matrix(testing.classes, prediction))
print(classification_report(testing.classes, prediction))
