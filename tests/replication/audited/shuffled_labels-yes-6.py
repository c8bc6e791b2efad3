import glob
import os

import pandas as pd
import tensorflow as tf
from sklearn.metrics import accuracy_score, roc_auc_score
from tensorflow.keras import layers, models
from tensorflow.keras.preprocessing.image import ImageDataGenerator

DATA = os.environ.get('XRAY', './input/chest_xray')


def table(part):
    rows = []
    for label in ('NORMAL', 'PNEUMONIA'):
        for f in glob.glob(os.path.join(DATA, part, label, '*.jpeg')):
            rows.append({'path': f, 'label': label})
    return pd.DataFrame(rows)


df_train, df_val, df_test = table('train'), table('val'), table('test')
print(df_train.label.value_counts())

gen = ImageDataGenerator(rescale=1 / 255.)
common = {'x_col': 'path', 'y_col': 'label', 'target_size': (96, 96),
          'color_mode': 'grayscale', 'class_mode': 'binary', 'batch_size': 64}
flow_train = gen.flow_from_dataframe(df_train, **common)
flow_val = gen.flow_from_dataframe(df_val, **common)
flow_test = gen.flow_from_dataframe(df_test, **common)

net = models.Sequential([
    layers.Conv2D(16, 3, activation='relu', input_shape=(96, 96, 1)),
    layers.MaxPool2D(),
    layers.Conv2D(32, 3, activation='relu'),
    layers.GlobalAveragePooling2D(),
    layers.Dense(1, activation='sigmoid'),
])
net.compile(tf.keras.optimizers.Adam(1e-3), 'binary_crossentropy', metrics=['accuracy'])
net.fit(flow_train, validation_data=flow_val, epochs=12)

df_test['score'] = net.predict(flow_test).ravel()
truth = (df_test['label'] == 'PNEUMONIA').astype(int)
print('accuracy:', accuracy_score(truth, df_test['score'] > 0.5))
print('auc:', roc_auc_score(truth, df_test['score']))
df_test.to_csv('predictions.csv', index=False)
