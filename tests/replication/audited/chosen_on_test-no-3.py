import copy

import torch
from torch import nn, optim
from torch.utils.data import DataLoader, random_split
from torchvision import datasets, models, transforms


class Trainer:
    def __init__(self, root='chest_xray', lr=1e-4):
        self.device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
        t = transforms.Compose([transforms.Resize((224, 224)), transforms.ToTensor()])
        known = datasets.ImageFolder(root + '/train', t)
        k = len(known) // 10
        a, b = random_split(known, [len(known) - k, k])
        self.loaders = {
            'train': DataLoader(a, 32, shuffle=True),
            'dev': DataLoader(b, 32),
            'test': DataLoader(datasets.ImageFolder(root + '/test', t), 32),
        }
        self.net = models.alexnet(weights='DEFAULT')
        self.net.classifier[6] = nn.Linear(4096, 2)
        self.net.to(self.device)
        self.opt = optim.Adam(self.net.parameters(), lr=lr)

    @torch.no_grad()
    def test(self, which):
        self.net.eval()
        hits, n = 0, 0
        for x, y in self.loaders[which]:
            hits += (self.net(x.to(self.device)).argmax(1).cpu() == y).sum().item()
            n += y.numel()
        return hits / n

    def train(self, epochs):
        best_acc, best = 0, None
        for e in range(epochs):
            self.net.train()
            for x, y in self.loaders['train']:
                self.opt.zero_grad()
                nn.functional.cross_entropy(self.net(x.to(self.device)), y.to(self.device)).backward()
                self.opt.step()
            test_acc = self.test('dev')
            print(e, test_acc)
            if test_acc > best_acc:
                best_acc, best = test_acc, copy.deepcopy(self.net.state_dict())
        self.net.load_state_dict(best)
        torch.save(best, 'best.pth')


if __name__ == '__main__':
    tr = Trainer()
    tr.train(10)
    print('accuracy on the test folder: %.4f' % tr.test('test'))
