import torch
import torch.nn as nn
import torchvision
from sklearn.metrics import confusion_matrix
from torchvision import transforms

ROOT = 'chest_xray'
prep = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor()])
folders = {k: torchvision.datasets.ImageFolder(ROOT + '/' + k, prep) for k in ['train', 'val', 'test']}
loaders = {k: torch.utils.data.DataLoader(folders[k], 32, True) for k in folders}

net = torchvision.models.densenet121(weights='IMAGENET1K_V1')
net.classifier = nn.Linear(1024, 2)
dev = torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')
net = net.to(dev)
crit = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(net.parameters(), lr=1e-4)


def one_pass(phase):
    """Train in phase 'train', else only look; returns loss, labels and guesses."""
    learn = phase == 'train'
    net.train(learn)
    losses, real, guess = 0, [], []
    for x, y in loaders[phase]:
        x, y = x.to(dev), y.to(dev)
        with torch.set_grad_enabled(learn):
            out = net(x)
            loss = crit(out, y)
            if learn:
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        losses += loss.item() * len(y)
        real += y.tolist()
        guess += out.argmax(1).tolist()
    return losses / len(folders[phase]), real, guess


for epoch in range(5):
    l, _, _ = one_pass('train')
    v, real, guess = one_pass('val')
    print(epoch, l, v, sum(a == b for a, b in zip(real, guess)) / len(real))

_, y_true, y_pred = one_pass('test')
print('images', len(folders['test'].targets))
print(confusion_matrix(y_true, y_pred))
