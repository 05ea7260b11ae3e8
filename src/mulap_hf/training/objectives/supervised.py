"""Supervised tagging or classification: what the other objectives are compared with."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ...audio import AudioError
from ...configuration_mulap import MulapConfig
from ...data.clips import ClipCollator
from ...data.tables import DataError
from ...metrics.scores import undefined_tags
from ...modeling_mulap import MulapForAudioClassification
from ..evaluation import feature_statistics, join, known_scores, mean_over
from ..objective import Objective, Record


@dataclass(kw_only=True)
class LabelCollator(ClipCollator):
    """Rows of a `PairStream` -> the inputs of `MulapForAudioClassification`.

    `labels` are `(batch, labels)`, float32, 1 where the clip has the label; or, of clips with one label each,
    `(batch,)`, int64. Of the latter, those without any of the labels are skipped.

    Args:
        labels: names, in the order of the model's outputs.
        multi_label: whether a clip may have any number of them.
    """

    labels: Sequence[str]
    multi_label: bool

    def load(self, row: dict, position: float) -> np.ndarray:
        if not self.multi_label and not set(self.labels).intersection(row["labels"]):
            raise AudioError("has none of the labels that are learnt")
        return super().load(row, position)

    def make_inputs(self, rows: list[dict], clips: list[np.ndarray], rng: np.random.Generator) -> dict:
        inputs = self.processor(audio=clips, sampling_rate=self.processor.feature_extractor.sampling_rate)
        labels = torch.tensor([[label in row["labels"] for label in self.labels] for row in rows])  # (batch, labels)
        return {**inputs, "labels": labels.float() if self.multi_label else labels.int().argmax(dim=1)}


class SupervisedObjective(Objective):
    """The most frequent `data_args.num_labels` labels of a column: binary cross entropy of each where the column holds
    lists, cross entropy over all where it holds names.

    Raises:
        DataError: there are fewer than two labels.
    """

    needs_captions = False
    needs_labels = True

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        counts = self.pairs.label_counts()
        self._labels = list(counts)[: self.data_args.num_labels]
        if len(self._labels) < 2:
            raise DataError(
                f"--label_column {self.data_args.label_column}: {len(counts)} different labels in the training data, "
                f"of which --num_labels {self.data_args.num_labels} are learnt: at least two are needed"
            )

    def make_model(self, config: MulapConfig) -> MulapForAudioClassification:
        kind = "multi" if self.pairs.multi_label else "single"
        config.problem_type = f"{kind}_label_classification"
        config.id2label = dict(enumerate(self._labels))
        config.label2id = {label: index for index, label in config.id2label.items()}
        return MulapForAudioClassification(config)

    def make_collator(self, config: MulapConfig, training: bool) -> LabelCollator:
        return LabelCollator(
            **self.collator_options(training), labels=self._labels, multi_label=self.pairs.multi_label
        )

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
            "logits": output.logits,  # (batch, labels)
            "labels": batch["labels"],
            "embedding": output.pooler_output,
        }

    def summarise(self, records: list[Record]) -> dict[str, float]:
        loss = mean_over(records, "classification_loss")
        truth, logits = join(records, "labels"), join(records, "logits")
        scores = _score_tags(truth, logits) if self.pairs.multi_label else known_scores("single_label", truth, logits)
        metrics = {"loss": loss, "classification_loss": loss} | scores
        return metrics | feature_statistics(join(records, "embedding"))


def _score_tags(truth: np.ndarray, logits: np.ndarray) -> dict[str, float]:
    """Mean area under the ROC curve of the labels that some clips have and some do not, and how many these are."""
    scores = known_scores("multi_label", truth, logits)
    counted = truth.shape[1] - sum(map(len, undefined_tags(truth)))
    return ({"macro_auc": scores["roc_auc"]} if "roc_auc" in scores else {}) | {"num_scored_labels": counted}
