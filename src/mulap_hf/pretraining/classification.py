"""What all objectives with labels have in common: the classifier, its loss and its metrics."""

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
import torch

from ..audio import Report
from ..configuration_mulap import MulapConfig
from ..data.clips import ClipCollator, Unusable
from ..data.schema import Kind, Task
from ..feature_extraction_mulap import MulapFeatureExtractor
from ..modeling_mulap import MulapForAudioClassification
from ..modeling_mulap_outputs import MulapClassifierOutput
from .evaluation import feature_statistics, join, known_scores, mean_over
from .objective import Objective, Record

PROBLEM_TYPES: dict[Kind, str] = {
    "multi_label": "multi_label_classification",
    "single_label": "single_label_classification",
    "regression": "regression",
}


def set_outputs(config: MulapConfig, task: Task):
    """Sets the problem type of a configuration, and the names of the outputs."""
    config.problem_type = PROBLEM_TYPES[task.kind]
    config.id2label = dict(enumerate(task.classes or task.columns))
    config.label2id = {label: index for index, label in config.id2label.items()}


@dataclass(kw_only=True)
class TargetCollator(ClipCollator):
    """Rows -> the inputs of `MulapForAudioClassification`; `labels` are a batch of what `Task.target` returns.

    Rows without a target are skipped.

    Args:
        feature_extractor: prepares clips.
    """

    feature_extractor: MulapFeatureExtractor

    def target(self, row: dict) -> np.ndarray | None:
        """The target of a row; None where it is not known."""
        raise NotImplementedError

    def load(self, row: dict, position: float, report: Report) -> np.ndarray:
        if self.target(row) is None:
            raise Unusable("has none of the labels that are trained on")
        return super().load(row, position, report)

    def make_inputs(self, rows: list[dict], clips: list[np.ndarray], rng: np.random.Generator) -> dict:
        inputs = self.feature_extractor(clips, sampling_rate=self.sampling_rate, return_tensors="pt")
        return {**inputs, "labels": torch.from_numpy(np.stack([self.target(row) for row in rows]))}


class ClassificationObjective(Objective):
    """Trains `MulapForAudioClassification` on a task."""

    needs_captions = False

    @property
    @abstractmethod
    def task(self) -> Task:
        """The task."""

    def collator_options(self, config: MulapConfig, training: bool) -> dict:
        return super().collator_options(config, training) | {"feature_extractor": self.feature_extractor}

    def make_model(self, config: MulapConfig) -> MulapForAudioClassification:
        set_outputs(config, self.task)
        return MulapForAudioClassification(config)

    def loss_weights(self, config: MulapConfig) -> dict[str, float]:
        return {"classification_loss": 1.0}

    def count(self, batch: dict[str, torch.Tensor]) -> dict[str, int]:
        return {"classification_loss": len(batch["labels"])}

    def terms(self, output: MulapClassifierOutput) -> dict[str, torch.Tensor]:
        return {"classification_loss": output.loss}

    def measure(self, output: MulapClassifierOutput, batch: dict[str, torch.Tensor]) -> Record:
        return {
            "logits": output.logits,  # (batch, outputs)
            "labels": batch["labels"],
            "embedding": output.pooler_output,
        }

    def summarize(self, records: list[Record]) -> dict[str, float]:
        loss = mean_over(records, "classification_loss")
        scores = known_scores(self.task.kind, join(records, "labels"), join(records, "logits"))
        metrics = {"loss": loss, "classification_loss": loss} | scores
        return metrics | feature_statistics(join(records, "embedding"))
