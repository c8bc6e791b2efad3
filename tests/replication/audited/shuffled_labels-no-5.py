from keras import layers, models
from keras.preprocessing.image import ImageDataGenerator
from sklearn.metrics import cohen_kappa_score, confusion_matrix

base = 'C:\\Users\\student\\chest_xray\\'
dg = ImageDataGenerator(rescale=1. / 255)

a = dg.flow_from_directory(base + 'train', target_size=(64, 64), color_mode='grayscale', class_mode='binary')
b = dg.flow_from_directory(base + 'val', target_size=(64, 64), color_mode='grayscale', class_mode='binary')
test_gen = dg.flow_from_directory(base + 'test', target_size=(64, 64), color_mode='grayscale', class_mode='binary')

model = models.Sequential()
model.add(layers.Conv2D(32, (3, 3), activation='relu', input_shape=(64, 64, 1)))
model.add(layers.MaxPooling2D((2, 2)))
model.add(layers.Conv2D(64, (3, 3), activation='relu'))
model.add(layers.MaxPooling2D((2, 2)))
model.add(layers.Flatten())
model.add(layers.Dense(64, activation='relu'))
model.add(layers.Dense(1, activation='sigmoid'))
model.compile('adam', 'binary_crossentropy', ['accuracy'])
model.fit(a, epochs=15, validation_data=b)

# loss and accuracy do not depend on the order
loss, acc = model.evaluate(test_gen)
print('loss', loss, 'accuracy', acc)

# for the matrix the order counts, so read the folder once more in its own order
test_gen_2 = dg.flow_from_directory(base + 'test', target_size=(64, 64), color_mode='grayscale',
                                    class_mode='binary', shuffle=False)
p = model.predict(test_gen_2)[:, 0] > 0.5
print(confusion_matrix(test_gen.classes, p))
print('kappa', cohen_kappa_score(test_gen.classes, p))
