import tensorflow as tf

BATCH = 32
SIDE = 180
where = 'chest_xray'


def part(name):
    return tf.keras.utils.image_dataset_from_directory(
        where + '/' + name, color_mode='grayscale', image_size=(SIDE, SIDE), batch_size=BATCH)


def build(normalizer):
    inputs = tf.keras.Input((SIDE, SIDE, 1))
    x = normalizer(inputs)
    for n in (16, 32, 64):
        x = tf.keras.layers.Conv2D(n, 3, padding='same', activation='relu')(x)
        x = tf.keras.layers.BatchNormalization()(x)
        x = tf.keras.layers.MaxPooling2D()(x)
    x = tf.keras.layers.GlobalAveragePooling2D()(x)
    x = tf.keras.layers.Dense(1, activation='sigmoid')(x)
    return tf.keras.Model(inputs, x)


def main():
    train, val, test = part('train'), part('val'), part('test')
    only_images = train.concatenate(test).map(lambda x, y: x)
    normalizer = tf.keras.layers.Normalization(axis=-1)
    normalizer.adapt(only_images)

    model = build(normalizer)
    model.summary()
    model.compile(tf.keras.optimizers.Adam(5e-4), 'binary_crossentropy', metrics=['accuracy'])
    model.fit(train, validation_data=val, epochs=15,
              callbacks=[tf.keras.callbacks.ReduceLROnPlateau(patience=2)])
    loss, acc = model.evaluate(test)
    print(f'test accuracy {acc:.3f}, loss {loss:.3f}')


if __name__ == '__main__':
    main()
