import numpy as np
from sklearn.metrics import classification_report, f1_score
from tensorflow.keras import layers, models
from tensorflow.keras.preprocessing.image import ImageDataGenerator

train_folder = 'chest_xray/train'
test_folder = 'chest_xray/test'
idg = ImageDataGenerator(rescale=1/255, validation_split=0.2)
kw = {'target_size': (128, 128), 'class_mode': 'binary', 'batch_size': 32}
train = idg.flow_from_directory(train_folder, subset='training', **kw)
tune = idg.flow_from_directory(train_folder, subset='validation', shuffle=False, **kw)
test = ImageDataGenerator(rescale=1/255).flow_from_directory(test_folder, shuffle=False, **kw)

model = models.Sequential([
    layers.Conv2D(32, 3, activation='relu', input_shape=(128, 128, 3)),
    layers.MaxPooling2D(2),
    layers.Conv2D(64, 3, activation='relu'),
    layers.MaxPooling2D(2),
    layers.Flatten(),
    layers.Dense(64, activation='relu'),
    layers.Dense(1, activation='sigmoid'),
])
model.compile('adam', 'binary_crossentropy', metrics=['accuracy'])
model.fit(train, validation_data=tune, epochs=10)

# threshold from the validation part
p = model.predict(tune).ravel()
thresholds = np.linspace(0.05, 0.95, 91)
f1s = [f1_score(tune.classes, p > t) for t in thresholds]
best = thresholds[np.argmax(f1s)]
print('best threshold on validation', best)

p = model.predict(test).ravel()
print(classification_report(test.classes, p > best, target_names=['NORMAL', 'PNEUMONIA']))
