"""Fine-tuning of backbone and head on a task, with the training loop of pre-training."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator

from ..configuration_mulap import MulapConfig
from ..data.schema import Skipped, Task
from ..data.streams import PairStream, open_pairs
from ..errors import DataError
from ..loading import open_backbone
from ..metrics.scores import MAIN_METRIC
from ..modeling_mulap import MulapForAudioClassification
from ..modeling_mulap_audio import MulapAudioModel
from ..pretraining.arguments import DataArguments, ModelArguments, TrainingArguments
from ..pretraining.classification import ClassificationObjective, TargetCollator
from ..pretraining.loop import TrainingLoop
from ..pretraining.runs import make_loaders
from .arguments import FineTuneArguments
from .probe import rescale_outputs, target_scaling
from .protocol import choose_few
from .saving import make_feature_extractor
from .tasks import TRAIN, VALIDATION, TaskData


@dataclass(kw_only=True)
class TaskCollator(TargetCollator):
    """Collator of rows of a prepared dataset.

    Args:
        targets: Targets of the rows by id.
    """

    targets: dict[str, np.ndarray] = field(repr=False)

    def target(self, row: dict) -> np.ndarray | None:
        return self.targets.get(row["id"])


class FineTuning(ClassificationObjective):
    """The objective of fine-tuning: a task, with selection by the main metric of its kind.

    Targets of a regression are standardized; `own_units` converts the trained model to the units of the task.

    Args:
        backbone: The pre-trained backbone.
        data: The task. Only training and validation labels are read.
        how: Arguments of the head and the input length.
        labels_per_class: See `choose_few`; None for all tracks.
        args: Arguments of the training loop.
    """

    highest_is_best = True

    def __init__(
        self,
        backbone: MulapAudioModel,
        data: TaskData,
        how: FineTuneArguments,
        labels_per_class: int | None,
        args: TrainingArguments,
    ):
        extractor = make_feature_extractor(backbone.config.sampling_rate, data.task)
        data_args = DataArguments(clip_seconds=how.train_seconds, num_workers=how.num_workers, max_validation=None)
        self.splits = {split: data.targets(split) for split in (TRAIN, VALIDATION)}
        if labels_per_class is not None:
            ids = list(self.splits[TRAIN].by_id)
            rows = choose_few(data.task, self.splits[TRAIN].of(ids), labels_per_class, args.seed)
            chosen = {ids[row] for row in rows}
            kept = {name: target for name, target in self.splits[TRAIN].by_id.items() if name in chosen}
            self.splits[TRAIN] = replace(self.splits[TRAIN], by_id=kept)
        self.streams = {split: _open_rows(data, split, self.splits[split].by_id) for split in self.splits}
        super().__init__(ModelArguments(), data_args, args, extractor, self.streams[TRAIN])
        self.backbone, self.how, self._task = backbone, how, data.task
        self.chosen_by = MAIN_METRIC[data.task.kind]
        self._seconds = data.task.seconds
        train = self.splits[TRAIN]
        self.scaling = target_scaling(train.of(list(train.by_id))) if data.task.kind == "regression" else None

    @property
    def task(self) -> Task:
        return self._task

    def make_model(self, config: MulapConfig) -> MulapForAudioClassification:
        model = super().make_model(config)
        model.audio_model.load_state_dict(self.backbone.state_dict())
        return model

    def make_config(self) -> MulapConfig:
        """Return the configuration of the backbone with the configured head."""
        return MulapConfig(
            audio_config=copy.deepcopy(self.backbone.config),
            classifier_head=self.how.head,
            classifier_hidden_size=self.how.hidden_size,
            classifier_dropout=self.how.dropout,
        )

    def make_collator(self, config: MulapConfig, training: bool) -> TaskCollator:
        options = self.collator_options(config, training)
        options["clip_seconds"] = self.how.train_seconds if training else self.how.validation_seconds
        if self._seconds is not None:
            options["clip_seconds"] = min(options["clip_seconds"], self._seconds)
        targets = self.splits[TRAIN if training else VALIDATION].by_id
        if self.scaling is not None:
            mean, std = (part.numpy() for part in self.scaling)
            targets = {name: (target - mean) / std for name, target in targets.items()}
        return TaskCollator(**options, targets=targets)

    def own_units(self, model: MulapForAudioClassification):
        """Change a model in place from standardized values to the units of the task."""
        if self.scaling is not None:
            rescale_outputs(model.classifier, *self.scaling)


def _open_rows(data: TaskData, split: str, targets: dict[str, Any]) -> PairStream:
    """Open the rows of a split that have a target."""
    if not targets:
        raise DataError(
            f"{data.folder}: no row of {split} has a label of the task {data.task.name}; choose another task"
        )
    pairs = open_pairs(data.folder, data.read_split(split), needs_captions=False)
    return pairs.select(frozenset(targets).__contains__)


@dataclass(frozen=True)
class FineTuned:
    """The result of fine-tuning.

    Attributes:
        model: The model with the weights of the best step, in the units of the task.
        loop: The finished training loop.
        num_train, num_validation: Numbers of tracks with labels.
        skipped: Tracks that could not be decoded, or have no label.
    """

    model: MulapForAudioClassification
    loop: TrainingLoop
    num_train: int
    num_validation: int
    skipped: list[Skipped]


def fine_tune(
    model: str | Path,
    data: TaskData,
    how: FineTuneArguments,
    labels_per_class: int | None,
    args: TrainingArguments,
    accelerator: Accelerator,
    prepare: Callable[[TrainingLoop], None] = lambda loop: None,
) -> FineTuned:
    """Fine-tune backbone and head until the validation metric stops improving, or for `args.max_steps`.

    An interrupted run resumes when the function is called again. All processes call it.

    Args:
        model: Folder or Hub name of the MuLaP model to start from.
        data: The task; its test splits are not read.
        how: See `FineTuning`.
        labels_per_class: See `choose_few`.
        args: Arguments of the training loop; `output_dir` must exist.
        accelerator: The accelerator of the run.
        prepare: Called with the loop before it runs.

    Raises:
        ModelError: The model is not a MuLaP model.
        DataError: No training or validation row has a label.
        RunError, Interrupted: See `TrainingLoop.run`.
    """
    objective = FineTuning(open_backbone(model), data, how, labels_per_class, args)
    network = objective.make_model(objective.make_config())
    train, validation = (objective.streams[split] for split in (TRAIN, VALIDATION))
    loaders = make_loaders(train, validation, objective, network, objective.data_args, args, accelerator)
    loop = TrainingLoop(objective, network, *loaders, accelerator, args, Path(args.output_dir), train.fingerprint)
    prepare(loop)
    loop.run()
    best = MulapForAudioClassification.from_pretrained(loop.checkpoints.best_folder())
    objective.own_units(best)
    skipped = [item for targets in objective.splits.values() for item in targets.skipped]
    skipped += [*loop.stream.skipped.values(), *loop.validation_skipped.values()]
    return FineTuned(best, loop, train.num_pairs, validation.num_pairs, skipped)
