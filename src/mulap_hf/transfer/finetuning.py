"""Fine-tuning: backbone and head learn a task together, through the training loop of pre-training."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator

from ..configuration_mulap import MulapConfig
from ..data.schema import Task
from ..data.streams import PairStream, open_pairs
from ..data.tables import Skipped
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
    """Rows of a prepared dataset.

    Args:
        targets: what is true of the rows, by id.
    """

    targets: dict[str, np.ndarray] = field(repr=False)

    def target(self, row: dict) -> np.ndarray | None:
        return self.targets.get(row["id"])


class FineTuning(ClassificationObjective):
    """A task, learned by a pre-trained backbone and a new head; chosen by the main metric of the task's kind.

    Values to regress are learned standardized; `own_units` undoes that.

    Args:
        backbone: where the model starts.
        data: the task; of its labels those of train and validation are read.
        how: of the head, and of what is heard.
        labels_per_class: see `choose_few`; None: all.
        args: of the loop.
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
        """The backbone's, with the head that was asked for."""
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
        """Makes a model that learned standardized values give them in the units of the task; in place."""
        if self.scaling is not None:
            rescale_outputs(model.classifier, *self.scaling)


def _open_rows(data: TaskData, split: str, targets: dict[str, Any]) -> PairStream:
    """The rows of a split that have a target."""
    if not targets:
        raise DataError(f"{data.folder}: no row of {split} has a label of the task {data.task.name}")
    pairs = open_pairs(data.folder, data.read_split(split), needs_captions=False)
    return pairs.select(frozenset(targets).__contains__)


@dataclass(frozen=True)
class FineTuned:
    """What came of it.

    model: with the weights of the best step, in the units of the task.
    loop: that has run.
    num_train, num_validation: tracks with labels.
    skipped: tracks of these that could not be heard, or have no label.
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
    """Trains until the validation metric stops rising (`args.patience`) or `args.max_steps` are done; an interrupted
    run goes on where it stopped when this is called again. In all processes.

    Args:
        model: MuLaP folder or Hub name to start from.
        data: the task; its tests are not touched.
        how: see `FineTuning`.
        labels_per_class: see `choose_few`.
        args: of the loop; `output_dir` exists.
        accelerator: of the run.
        prepare: called with the loop before it runs.

    Raises:
        ModelError: the model is no MuLaP.
        DataError: there is nothing to learn from.
        RunError, Interrupted: see `TrainingLoop.run`.
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
