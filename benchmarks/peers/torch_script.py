"""The MNIST script of the course."""

from __future__ import annotations

import torch
from datasets import Array
from torch import Tensor, nn, optim
from torch.utils.data import DataLoader, Dataset
from workload import Workload

from peers.base import Peer


class Images(Dataset[tuple[Tensor, int]]):
    """One (image tensor, label) per index, as in torchvision's MNIST with ToTensor.

    torchvision converts a PIL image to a tensor at each access. Here, all tensors are converted beforehand, which makes
    the script faster.
    """

    def __init__(self, X: Array, y: Array) -> None:
        self.images, self.labels = torch.from_numpy(X).reshape(-1, 1, 28, 28), y.tolist()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.images[index], self.labels[index]


class SimpleMLP(nn.Module):
    """The network of the script."""

    def __init__(self) -> None:
        super().__init__()
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(28 * 28, 128)
        self.relu1 = nn.ReLU()
        self.fc2 = nn.Linear(128, 64)
        self.relu2 = nn.ReLU()
        self.fc3 = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.flatten(x)
        x = self.relu1(self.fc1(x))
        x = self.relu2(self.fc2(x))
        logits: Tensor = self.fc3(x)
        return logits


class TorchScript(Peer):
    """The script of the course: ``DataLoader(batch_size=64, shuffle=True, num_workers=2)``, default Adam,
    ``loss.item()`` in every step. The initial weights are those of the workload, and the images are already tensors.
    """

    library = "torch"

    def prepare(self, workload: Workload) -> None:
        self.workload = workload
        X, y = workload.inputs(), workload.targets()
        if workload.for_check:
            order = workload.order(0)
            X, y = X[order], y[order]
        self.loader = DataLoader(Images(X, y), batch_size=workload.batch, shuffle=not workload.for_check, num_workers=2)
        self.model = SimpleMLP()
        for linear, (W, b) in zip((self.model.fc1, self.model.fc2, self.model.fc3), workload.weights(), strict=True):
            with torch.no_grad():
                linear.weight.copy_(torch.from_numpy(W.T))
                linear.bias.copy_(torch.from_numpy(b))
        self.criterion = nn.CrossEntropyLoss()
        self.optimizer = optim.Adam(self.model.parameters(), lr=workload.learning_rate)

    def epoch(self, order: Array) -> None:
        running_loss = 0.0
        for inputs, labels in self.loader:
            self.optimizer.zero_grad()
            outputs = self.model(inputs)
            loss = self.criterion(outputs, labels)
            loss.backward()
            self.optimizer.step()
            running_loss += loss.item()

    def outputs(self, X: Array) -> Array:
        with torch.no_grad():
            return self.model(torch.from_numpy(X)).softmax(dim=1).numpy()
