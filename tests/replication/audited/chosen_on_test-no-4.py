import glob
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from sklearn.metrics import confusion_matrix, roc_auc_score, roc_curve
from sklearn.model_selection import train_test_split


def images(files):
    out = []
    for f in files:
        raw = tf.io.decode_jpeg(tf.io.read_file(f), channels=1)
        out.append(tf.image.resize(raw, (90, 90)).numpy() / 255)
    return np.array(out), np.array([float('PNEUMONIA' in f) for f in files])


def best_cut(y, p):
    fpr, tpr, thr = roc_curve(y, p)
    return thr[np.argmax(tpr - fpr)]


files = glob.glob('./chest_xray/train/*/*.jpeg')
a, b = train_test_split(files, test_size=0.2, random_state=21)
x_train, y_train = images(a)
x_val, y_val = images(b)
x_test, y_test = images(glob.glob('./chest_xray/test/*/*.jpeg'))

m = tf.keras.Sequential([
    tf.keras.layers.Conv2D(20, 5, activation='relu', input_shape=(90, 90, 1)),
    tf.keras.layers.MaxPooling2D(3),
    tf.keras.layers.Conv2D(40, 3, activation='relu'),
    tf.keras.layers.MaxPooling2D(3),
    tf.keras.layers.Flatten(),
    tf.keras.layers.Dense(1, activation='sigmoid'),
])
m.compile('adam', 'binary_crossentropy', metrics=['accuracy'])
m.fit(x_train, y_train, epochs=10, validation_data=(x_val, y_val))

cut = best_cut(y_val, m.predict(x_val).ravel())
p_test = m.predict(x_test).ravel()
fpr, tpr, thr = roc_curve(y_test, p_test)
plt.plot(fpr, tpr)
plt.title('test, AUC %.3f' % roc_auc_score(y_test, p_test))
plt.savefig('roc_test.png')
print('cut', cut)
print(confusion_matrix(y_test, p_test >= cut))
