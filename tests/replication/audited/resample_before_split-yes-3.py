import glob
import numpy as np
from PIL import Image
from sklearn.model_selection import train_test_split
from tensorflow.keras import layers, models, callbacks


def read_class(pattern, value, side=128):
    imgs = [np.asarray(Image.open(f).convert('L').resize((side, side))) for f in glob.glob(pattern)]
    return np.stack(imgs), np.full(len(imgs), value)


def grow(images):
    """Mirror and shift every image to have more of them."""
    mirrored = np.flip(images, axis=2)
    shifted = np.roll(images, 6, axis=1)
    return np.concatenate([images, mirrored, shifted])


normal, y0 = read_class('./data/chest_xray/train/NORMAL/*.jpeg', 0)
sick, y1 = read_class('./data/chest_xray/train/PNEUMONIA/*.jpeg', 1)

normal = grow(normal)
y0 = np.tile(y0, 3)
print('normal', len(normal), 'pneumonia', len(sick))

X = np.concatenate([normal, sick])[..., None].astype('float32') / 255
Y = np.concatenate([y0, y1])

x_tr, x_va, y_tr, y_va = train_test_split(X, Y, test_size=0.2, shuffle=True)

net = models.Sequential([
    layers.Conv2D(16, 5, activation='relu', input_shape=(128, 128, 1)),
    layers.MaxPooling2D(4),
    layers.Conv2D(32, 3, activation='relu'),
    layers.MaxPooling2D(2),
    layers.Flatten(),
    layers.Dense(32, activation='relu'),
    layers.Dense(1, activation='sigmoid'),
])
net.compile(loss='binary_crossentropy', optimizer='adam', metrics=['accuracy'])
net.fit(x_tr, y_tr, validation_data=(x_va, y_va), epochs=25,
        callbacks=[callbacks.EarlyStopping(patience=4, restore_best_weights=True)])

tn, t0 = read_class('./data/chest_xray/test/NORMAL/*.jpeg', 0)
tp, t1 = read_class('./data/chest_xray/test/PNEUMONIA/*.jpeg', 1)
xt = np.concatenate([tn, tp])[..., None].astype('float32') / 255
print(net.evaluate(xt, np.concatenate([t0, t1])))
