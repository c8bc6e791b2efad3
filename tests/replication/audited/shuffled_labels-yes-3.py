import argparse
import torch
import torch.nn as nn
from sklearn.metrics import f1_score, roc_auc_score
from torch.utils.data import DataLoader
from torchvision import datasets, models, transforms

device = 'cuda' if torch.cuda.is_available() else 'cpu'


def get_loaders(root, bs):
    tf = transforms.Compose([
        transforms.Resize((224, 224)),
        transforms.ToTensor(),
        transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ])
    sets = [datasets.ImageFolder(f'{root}/{part}', tf) for part in ('train', 'val', 'test')]
    return [DataLoader(s, batch_size=bs, shuffle=True, num_workers=2) for s in sets]


def train(net, loader, epochs):
    opt = torch.optim.Adam(net.fc.parameters(), lr=1e-3)
    loss_fn = nn.CrossEntropyLoss()
    for epoch in range(epochs):
        net.train()
        total = 0.0
        for img, target in loader:
            img, target = img.to(device), target.to(device)
            opt.zero_grad()
            loss = loss_fn(net(img), target)
            loss.backward()
            opt.step()
            total += loss.item()
        print('epoch', epoch, 'loss', total / len(loader))


@torch.no_grad()
def collect_scores(net, loader):
    net.eval()
    scores = [torch.softmax(net(img.to(device)), 1)[:, 1].cpu() for img, _ in loader]
    return torch.cat(scores).numpy()


def collect_labels(loader):
    return torch.cat([target for _, target in loader]).numpy()


if __name__ == '__main__':
    ap = argparse.ArgumentParser()
    ap.add_argument('--data', default='data/chest_xray')
    ap.add_argument('--epochs', type=int, default=5)
    args = ap.parse_args()
    trainloader, valloader, testloader = get_loaders(args.data, 32)
    net = models.resnet18(pretrained=True)
    net.fc = nn.Linear(net.fc.in_features, 2)
    net.to(device)
    train(net, trainloader, args.epochs)
    scores = collect_scores(net, testloader)
    labels = collect_labels(testloader)
    print('AUC', roc_auc_score(labels, scores))
    print('F1', f1_score(labels, scores > 0.5))
