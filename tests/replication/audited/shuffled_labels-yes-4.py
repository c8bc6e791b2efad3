from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import accuracy_score, confusion_matrix
from torch import nn, optim
from torch.utils.data import DataLoader
from torchvision import transforms as T
from torchvision.datasets import ImageFolder


class SmallNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(4),
        )
        self.head = nn.Linear(32 * 16, 2)

    def forward(self, x):
        return self.head(self.features(x).flatten(1))


class Experiment:
    def __init__(self, folder, batch=64):
        folder = Path(folder)
        tfm = T.Compose([T.Grayscale(), T.Resize((128, 128)), T.ToTensor()])
        self.data = {p.name: ImageFolder(str(p), tfm) for p in sorted(folder.iterdir()) if p.is_dir()}
        options = dict(batch_size=batch, shuffle=True)
        self.loaders = {k: DataLoader(d, **options) for k, d in self.data.items()}
        self.net = SmallNet()

    def fit(self, n):
        opt = optim.SGD(self.net.parameters(), lr=0.01, momentum=0.9)
        for i in range(n):
            for x, y in self.loaders['train']:
                opt.zero_grad()
                nn.functional.cross_entropy(self.net(x), y).backward()
                opt.step()
            print('done epoch', i + 1)

    def predict(self, part):
        self.net.eval()
        out = []
        with torch.no_grad():
            for x, _ in self.loaders[part]:
                out.extend(self.net(x).argmax(1).tolist())
        return np.array(out)

    def report(self, part='test'):
        guess = self.predict(part)
        truth = np.array(self.data[part].targets)
        print(part, 'accuracy', accuracy_score(truth, guess))
        print(confusion_matrix(truth, guess))


exp = Experiment('../chest_xray')
exp.fit(8)
exp.report('val')
exp.report('test')
