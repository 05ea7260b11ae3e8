"""What all objectives with labels share: the classifier, its loss and what is measured of it."""

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
import torch

from ..configuration_mulap import MulapConfig
from ..data.clips import ClipCollator
from ..data.schema import Kind, Task
from ..errors import AudioError
from ..modeling_mulap import MulapForAudioClassification
from .evaluation import feature_statistics, join, known_scores, mean_over
from .objective import Objective, Record

PROBLEM_TYPES: dict[Kind, str] = {
    "multi_label": "multi_label_classification",
    "single_label": "single_label_classification",
    "regression": "regression",
}


def set_outputs(config: MulapConfig, task: Task):
    """What the model's outputs are: its problem type and their names."""
    config.problem_type = PROBLEM_TYPES[task.kind]
    config.id2label = dict(enumerate(task.classes or task.columns))
    config.label2id = {label: index for index, label in config.id2label.items()}


@dataclass(kw_only=True)
class TargetCollator(ClipCollator):
    """Rows -> the inputs of `MulapForAudioClassification`; `labels` are as of `Task.target`, with a batch dimension.

    Rows without a target are skipped.
    """

    def target(self, row: dict) -> np.ndarray | None:
        """What is true of a row; None where that is not known."""
        raise NotImplementedError

    def load(self, row: dict, position: float) -> np.ndarray:
        if self.target(row) is None:
            raise AudioError("has none of the labels that are learned")
        return super().load(row, position)

    def make_inputs(self, rows: list[dict], clips: list[np.ndarray], rng: np.random.Generator) -> dict:
        inputs = self.processor(audio=clips, sampling_rate=self.processor.feature_extractor.sampling_rate)
        return {**inputs, "labels": torch.from_numpy(np.stack([self.target(row) for row in rows]))}


class ClassificationObjective(Objective):
    """A task, learned by `MulapForAudioClassification`."""

    needs_captions = False

    @property
    @abstractmethod
    def task(self) -> Task:
        """What is learned."""

    def make_model(self, config: MulapConfig) -> MulapForAudioClassification:
        set_outputs(config, self.task)
        return MulapForAudioClassification(config)

    def loss_weights(self, config: MulapConfig) -> dict[str, float]:
        return {"classification_loss": 1.0}

    def count(self, batch: dict[str, torch.Tensor]) -> dict[str, int]:
        return {"classification_loss": len(batch["labels"])}

    def losses(self, model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {"classification_loss": model(**batch).loss}

    def measure(self, model: MulapForAudioClassification, batch: dict[str, torch.Tensor]) -> Record:
        output = model(**batch)
        return {
            "classification_loss": output.loss,
            "classification_loss_count": len(batch["labels"]),
            "logits": output.logits,  # (batch, outputs)
            "labels": batch["labels"],
            "embedding": output.pooler_output,
        }

    def summarize(self, records: list[Record]) -> dict[str, float]:
        loss = mean_over(records, "classification_loss")
        scores = known_scores(self.task.kind, join(records, "labels"), join(records, "logits"))
        metrics = {"loss": loss, "classification_loss": loss} | scores
        return metrics | feature_statistics(join(records, "embedding"))
