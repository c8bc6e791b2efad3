import numpy as np
import tensorflow as tf
from sklearn.metrics import classification_report, roc_auc_score

IMG = 200
root = './chest_xray'
loader = tf.keras.preprocessing.image_dataset_from_directory
train = loader(f'{root}/train', validation_split=0.2, subset='training', seed=1, image_size=(IMG, IMG))
valid = loader(f'{root}/train', validation_split=0.2, subset='validation', seed=1, image_size=(IMG, IMG))
test = loader(f'{root}/test', image_size=(IMG, IMG))
print(train.class_names)

model = tf.keras.Sequential([
    tf.keras.layers.Rescaling(1. / 255, input_shape=(IMG, IMG, 3)),
    tf.keras.layers.RandomFlip('horizontal'),
    tf.keras.layers.Conv2D(16, 3, activation='relu'),
    tf.keras.layers.MaxPooling2D(),
    tf.keras.layers.Conv2D(32, 3, activation='relu'),
    tf.keras.layers.MaxPooling2D(),
    tf.keras.layers.Flatten(),
    tf.keras.layers.Dense(64, activation='relu'),
    tf.keras.layers.Dense(1, activation='sigmoid'),
])
model.compile(optimizer='adam', loss='binary_crossentropy', metrics=['accuracy'])
model.fit(train, validation_data=valid, epochs=10)

labels = np.array([])
scores = np.array([])
for images, y in test:
    p = model.predict_on_batch(images)
    scores = np.concatenate([scores, p[:, 0]])
    labels = np.concatenate([labels, y.numpy()])

print(classification_report(labels, scores > 0.5, target_names=test.class_names))
print('AUC = %.3f' % roc_auc_score(labels, scores))
