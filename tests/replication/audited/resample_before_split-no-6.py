import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, Subset, WeightedRandomSampler, random_split
from torchvision import datasets, models, transforms

normalize = transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
augment = transforms.Compose([transforms.RandomResizedCrop(224, (0.8, 1)), transforms.RandomHorizontalFlip(),
                              transforms.ToTensor(), normalize])
simple = transforms.Compose([transforms.Resize((224, 224)), transforms.ToTensor(), normalize])

aug_set = datasets.ImageFolder('chest_xray/train', augment)
plain_set = datasets.ImageFolder('chest_xray/train', simple)
size = len(aug_set)
a, b = random_split(range(size), [size - size // 5, size // 5], generator=torch.Generator().manual_seed(0))
train_set, val_set = Subset(aug_set, list(a)), Subset(plain_set, list(b))

targets = np.array(aug_set.targets)[list(a)]
weight = 1.0 / np.bincount(targets)
oversampler = WeightedRandomSampler(weight[targets], num_samples=2 * int(np.bincount(targets).max()), replacement=True)

train_loader = DataLoader(train_set, batch_size=32, sampler=oversampler)
val_loader = DataLoader(val_set, batch_size=32)
test_loader = DataLoader(datasets.ImageFolder('chest_xray/test', simple), batch_size=32)

device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
net = models.resnet50(weights=models.ResNet50_Weights.DEFAULT)
net.fc = torch.nn.Linear(2048, 2)
net.to(device)
optimizer = torch.optim.SGD(net.parameters(), lr=0.001, momentum=0.9)


def test(loader):
    net.eval()
    good = n = 0
    with torch.no_grad():
        for x, y in loader:
            good += (net(x.to(device)).argmax(1).cpu() == y).sum().item()
            n += len(y)
    return good / n


for epoch in range(6):
    net.train()
    for x, y in train_loader:
        loss = F.cross_entropy(net(x.to(device)), y.to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f'epoch {epoch + 1}: val acc {test(val_loader):.4f}')
print(f'test acc {test(test_loader):.4f}')
