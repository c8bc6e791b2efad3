import pandas as pd
from fastai.vision.all import *
from sklearn.metrics import classification_report

ROOT = Path('../input/chest-xray-pneumonia/chest_xray')


def read_folder(part):
    rows = []
    for cls in ['NORMAL', 'PNEUMONIA']:
        rows += [(str(f), cls) for f in (ROOT/part/cls).ls() if f.suffix == '.jpeg']
    return pd.DataFrame(rows, columns=['img', 'target'])


def equalize(frame):
    """Same number of rows of both classes."""
    big = frame.target.value_counts().max()
    parts = []
    for cls, group in frame.groupby('target'):
        if len(group) < big:
            extra = group.sample(big - len(group), replace=True, random_state=3)
            group = pd.concat([group, extra])
        parts.append(group)
    return pd.concat(parts, ignore_index=True)


frame = equalize(read_folder('train'))
print(frame.target.value_counts())

dls = ImageDataLoaders.from_df(frame, path='.', fn_col='img', label_col='target', valid_pct=0.15, seed=3,
                               item_tfms=Resize(256), batch_tfms=aug_transforms(size=224, do_flip=False), bs=32)
learn = vision_learner(dls, resnet50, metrics=[error_rate, F1Score()])
learn.lr_find()
learn.fine_tune(5, 2e-3, cbs=SaveModelCallback(monitor='valid_loss'))
print('validation', learn.validate())

test = read_folder('test')
dl = dls.test_dl(test)
probs, _ = learn.get_preds(dl=dl)
guess = [dls.vocab[i] for i in probs.argmax(1)]
print(classification_report(test['target'], guess))
