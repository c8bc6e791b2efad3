import os
from keras.preprocessing.image import ImageDataGenerator, img_to_array, load_img
from keras.models import Sequential
from keras.layers import Conv2D, MaxPooling2D, Flatten, Dense, Dropout

train_path = '/content/drive/MyDrive/chest_xray/train/'
test_path = '/content/drive/MyDrive/chest_xray/test/'

# ---- make new NORMAL images until both classes have the same size ----
maker = ImageDataGenerator(rotation_range=8, zoom_range=0.1, brightness_range=(0.8, 1.2))
normal_path = os.path.join(train_path, 'NORMAL')
originals = os.listdir(normal_path)
need = len(os.listdir(os.path.join(train_path, 'PNEUMONIA'))) - len(originals)
made = 0
while made < need:
    for name in originals:
        arr = img_to_array(load_img(os.path.join(normal_path, name)))
        arr = arr.reshape((1,) + arr.shape)
        next(maker.flow(arr, batch_size=1, save_to_dir=normal_path, save_prefix='aug', save_format='jpeg'))
        made += 1
        if made >= need:
            break
print('NORMAL now', len(os.listdir(normal_path)))

# ---- generators ----
gen = ImageDataGenerator(rescale=1/255, validation_split=0.2)
train = gen.flow_from_directory(train_path, target_size=(150, 150), class_mode='binary', subset='training')
val = gen.flow_from_directory(train_path, target_size=(150, 150), class_mode='binary', subset='validation')
test = ImageDataGenerator(rescale=1/255).flow_from_directory(
    test_path, target_size=(150, 150), class_mode='binary', shuffle=False)

model = Sequential()
for i, filters in enumerate([32, 64, 128]):
    if i == 0:
        model.add(Conv2D(filters, (3, 3), activation='relu', input_shape=(150, 150, 3)))
    else:
        model.add(Conv2D(filters, (3, 3), activation='relu'))
    model.add(MaxPooling2D((2, 2)))
model.add(Flatten())
model.add(Dropout(0.5))
model.add(Dense(1, activation='sigmoid'))
model.compile(optimizer='adam', loss='binary_crossentropy', metrics=['accuracy'])
model.fit(train, epochs=15, validation_data=val)
print(model.evaluate(test))
