"""Training of a head on frozen features, with early stopping."""

import math
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from ..data.schema import Kind, Task
from ..errors import DataError
from ..files import replacing
from ..metrics.scores import MAIN_METRIC, score
from ..modeling_mulap_layers import classifier_head
from ..modeling_mulap_losses import classification_loss
from ..pretraining.classification import PROBLEM_TYPES
from .arguments import ProbeArguments
from .features import Features

_SMALLEST_STD = 1e-6  # features with a smaller standard deviation are not scaled
_TRACKS_PER_PREDICTION = 1024


@dataclass(frozen=True)
class LabeledFeatures:
    """Features of tracks and their targets `(tracks, ...)`, see `Task.target`."""

    features: Features
    targets: np.ndarray


@dataclass
class Probe:
    """A trained head.

    Attributes:
        head: Module from features `(chunks, features)` to outputs `(chunks, outputs)`. Standardization is included:
            features are raw, and values have the units of the task.
        history: A row per epoch with `epoch`, `loss`, the validation metric and `learning_rate`.
        best_epoch: The epoch of the head.
    """

    head: nn.Module
    history: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0

    @torch.inference_mode()
    def predict(self, features: Features) -> np.ndarray:
        """Return the logits or values of tracks, averaged over their chunks: `(tracks, outputs)`."""
        return _predict(self.head, features)


def train_probe(
    args: ProbeArguments,
    task: Task,
    train: LabeledFeatures,
    validation: LabeledFeatures,
    seed: int = 0,
    checkpoint: Path | None = None,
    progress: bool = True,
) -> Probe:
    """Train a head on frozen features; return it with the weights of the best validation epoch.

    As in Manco et al. (ICASSP 2022, section 3.3): Adam, halving of the learning rate on plateaus, early stopping, and
    outputs averaged over the chunks of a track.

    Args:
        args: Arguments of the head and its training.
        task: The task.
        train, validation: Features and targets of the two splits.
        seed: Random seed of the weights and the order of the tracks.
        checkpoint: File to save the training to after each epoch; an existing file is resumed from.
        progress: Show a progress bar.

    Raises:
        DataError: The validation metric cannot be computed, or the loss is not finite.
    """
    metric = MAIN_METRIC[task.kind]
    features, targets = train.features, torch.from_numpy(train.targets)
    validation_features = validation.features
    if args.head == "linear":  # the mean of linear outputs is the output of the mean
        features, validation_features = features.means(), validation_features.means()
    scaling = _Scaling.of(features, train.targets, task) if args.standardize else None
    if scaling is not None and task.kind == "regression":
        targets = (targets - scaling.target_mean) / scaling.target_std
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = classifier_head(args.head, features.values.shape[1], task.num_outputs, args.hidden_size, args.dropout)
        optimizer = torch.optim.Adam(head.parameters(), lr=args.learning_rate, weight_decay=args.weight_decay)
        halving = {"mode": "max", "factor": 0.5, "patience": args.plateau_patience}
        schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **halving)
        state = _State(metric, head, optimizer, schedule)
        if checkpoint is not None and checkpoint.exists():
            state.load(checkpoint)
        with tqdm(total=args.max_epochs, initial=len(state.history), unit="epoch", disable=not progress) as epochs:
            while len(state.history) < args.max_epochs and not state.is_stuck(args.patience):
                loss = _train_epoch(head, optimizer, features, targets, scaling, task.kind, args.batch_size)
                folded = head if scaling is None else scaling.fold(head, task.kind)
                value = score(task.kind, validation.targets, _predict(folded, validation_features)).get(metric)
                if value is None or not math.isfinite(value) or not math.isfinite(loss):
                    raise DataError(
                        f"task {task.name}, epoch {len(state.history) + 1}: loss {loss}, {metric} {value} on "
                        f"{len(validation.targets)} validation tracks; check their labels, or lower --learning_rate"
                    )
                state.add(folded, {"loss": loss, metric: value, "learning_rate": optimizer.param_groups[0]["lr"]})
                schedule.step(value)
                if checkpoint is not None:
                    state.save(checkpoint)
                epochs.update()
                epochs.set_postfix({"loss": f"{loss:.4f}", metric: f"{value:.4f}"})
    head.load_state_dict(state.best)
    if checkpoint is not None:
        checkpoint.unlink()
    return Probe(head.eval(), state.history, state.best_epoch)


def _train_epoch(
    head: nn.Module,
    optimizer: torch.optim.Optimizer,
    features: Features,
    targets: torch.Tensor,
    scaling: "_Scaling | None",
    kind: Kind,
    batch_size: int,
) -> float:
    """Train for one epoch; return the mean loss."""
    head.train()
    total = 0.0
    for rows in torch.randperm(len(targets)).split(batch_size):
        chunks, owners = features.batch(rows.numpy())
        if scaling is not None:
            chunks = (chunks - scaling.mean) / scaling.std
        loss = classification_loss(PROBLEM_TYPES[kind], _means(head(chunks), owners, len(rows)), targets[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(rows)
    return total / len(targets)


def _means(outputs: torch.Tensor, owners: torch.Tensor, number: int) -> torch.Tensor:
    """Return the mean over the chunks of each track: `(chunks, outputs)` -> `(tracks, outputs)`."""
    sums = outputs.new_zeros(number, outputs.shape[1]).index_add(0, owners, outputs)
    return sums / torch.bincount(owners, minlength=number).unsqueeze(1)


def _predict(head: nn.Module, features: Features) -> np.ndarray:
    was_training = head.training
    head.eval()
    with torch.inference_mode():
        parts = []
        for start in range(0, len(features.ids), _TRACKS_PER_PREDICTION):
            rows = np.arange(start, min(start + _TRACKS_PER_PREDICTION, len(features.ids)))
            chunks, owners = features.batch(rows)
            parts.append(_means(head(chunks), owners, len(rows)))
    head.train(was_training)
    return torch.cat(parts).numpy()


@torch.no_grad()
def rescale_outputs(head: nn.Module, mean: torch.Tensor, std: torch.Tensor):
    """Change a head in place from standardized values to the units of the task; mean and std are `(outputs,)`."""
    last = head if isinstance(head, nn.Linear) else head[-1]
    last.weight.mul_(std.unsqueeze(1))
    last.bias.mul_(std).add_(mean)


def target_scaling(targets: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and standard deviation (1 for constants) of targets `(tracks, outputs)`, `(outputs,)` each."""
    spread = targets.std(axis=0)
    spread = np.where(spread > _SMALLEST_STD, spread, 1)
    return torch.from_numpy(targets.mean(axis=0).astype(np.float32)), torch.from_numpy(spread.astype(np.float32))


@dataclass(frozen=True)
class _Scaling:
    """Statistics of the training tracks: of the features of all chunks `(features,)`, and of targets `(outputs,)`."""

    mean: torch.Tensor
    std: torch.Tensor
    target_mean: torch.Tensor
    target_std: torch.Tensor

    @classmethod
    def of(cls, features: Features, targets: np.ndarray, task: Task) -> "_Scaling":
        total = square = 0.0
        number = 0
        for rows in np.array_split(np.arange(len(features.ids)), -(-len(features.ids) // _TRACKS_PER_PREDICTION)):
            chunks = features.batch(rows)[0].double()
            total, square, number = total + chunks.sum(0), square + chunks.square().sum(0), number + len(chunks)
        mean = total / number
        std = (square / number - mean.square()).clamp(min=0).sqrt()
        std = torch.where(std > _SMALLEST_STD * mean.abs().clamp(min=1), std, 1.0)
        outputs = targets if task.kind == "regression" else np.zeros((1, task.num_outputs))
        return cls(mean.float(), std.float(), *target_scaling(outputs))

    @torch.no_grad()
    def fold(self, head: nn.Module, kind: Kind) -> nn.Module:
        """Return a copy of the head for raw features and, for a regression, with outputs in the units of the task."""
        folded = deepcopy(head)
        first = folded if isinstance(folded, nn.Linear) else folded[0]
        first.weight.div_(self.std)
        first.bias.sub_(first.weight @ self.mean)
        if kind == "regression":
            rescale_outputs(folded, self.target_mean, self.target_std)
        return folded


class _State:
    """The state of the training for checkpoints, with the best head so far."""

    def __init__(self, metric: str, head: nn.Module, optimizer: torch.optim.Optimizer, schedule):
        self._metric = metric
        self._parts = {"head": head, "optimizer": optimizer, "schedule": schedule}
        self.history: list[dict[str, float]] = []
        self.best: dict[str, torch.Tensor] = {}
        self.best_epoch = 0

    def add(self, head: nn.Module, row: dict[str, float]):
        """Record an epoch, and its head if it is the best one."""
        epoch = len(self.history) + 1
        if not self.history or row[self._metric] > self.history[self.best_epoch - 1][self._metric]:
            self.best_epoch = epoch
            self.best = {name: value.detach().clone() for name, value in head.state_dict().items()}
        self.history.append({"epoch": epoch} | row)

    def is_stuck(self, patience: int) -> bool:
        return len(self.history) - self.best_epoch >= patience

    def save(self, path: Path):
        content = {name: part.state_dict() for name, part in self._parts.items()}
        own = {"history": self.history, "best": self.best, "best_epoch": self.best_epoch}
        with replacing(path) as temporary:
            torch.save(content | own | {"rng": torch.get_rng_state()}, temporary)

    def load(self, path: Path):
        content = torch.load(path, weights_only=True)
        for name, part in self._parts.items():
            part.load_state_dict(content[name])
        self.history, self.best = content["history"], content["best"]
        self.best_epoch = content["best_epoch"]
        torch.set_rng_state(content["rng"])
