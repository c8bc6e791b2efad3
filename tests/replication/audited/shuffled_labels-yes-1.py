import numpy as np
import matplotlib.pyplot as plt
import seaborn as sns
from sklearn.metrics import classification_report, confusion_matrix
from tensorflow.keras.layers import Conv2D, Dense, Dropout, Flatten, MaxPooling2D
from tensorflow.keras.models import Sequential
from tensorflow.keras.preprocessing.image import ImageDataGenerator

train_dir = 'chest_xray/train'
val_dir = 'chest_xray/val'
test_dir = 'chest_xray/test'
size = (150, 150)

train_datagen = ImageDataGenerator(rescale=1./255, zoom_range=0.2, horizontal_flip=True)
plain_datagen = ImageDataGenerator(rescale=1./255)

train_set = train_datagen.flow_from_directory(train_dir, target_size=size, batch_size=32, class_mode='binary')
val_set = plain_datagen.flow_from_directory(val_dir, target_size=size, batch_size=8, class_mode='binary')
test_set = plain_datagen.flow_from_directory(test_dir, target_size=size, batch_size=32, class_mode='binary')

model = Sequential()
model.add(Conv2D(32, (3, 3), activation='relu', input_shape=size + (3,)))
model.add(MaxPooling2D())
model.add(Conv2D(64, (3, 3), activation='relu'))
model.add(MaxPooling2D())
model.add(Flatten())
model.add(Dense(128, activation='relu'))
model.add(Dropout(0.4))
model.add(Dense(1, activation='sigmoid'))
model.compile(optimizer='adam', loss='binary_crossentropy', metrics=['accuracy'])

model.fit(train_set, epochs=10, validation_data=val_set)
print('test loss, test acc:', model.evaluate(test_set))

# confusion matrix
probs = model.predict(test_set)
y_pred = np.where(probs > 0.5, 1, 0).ravel()
cm = confusion_matrix(test_set.classes, y_pred)
sns.heatmap(cm, annot=True, fmt='d', cmap='Blues')
plt.savefig('cm.png')
print(classification_report(test_set.classes, y_pred, target_names=['NORMAL', 'PNEUMONIA']))
