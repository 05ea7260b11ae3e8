"""The interface of the training objectives in `objectives/`."""

from abc import ABC, abstractmethod
from importlib import import_module

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import ModelOutput

from ..configuration_mulap import MulapConfig
from ..data.augmentation import Augmentation
from ..data.clips import ClipCollator
from ..data.streams import PairStream
from ..feature_extraction_mulap import MulapFeatureExtractor
from ..processing_mulap import MulapProcessor
from .arguments import OBJECTIVES, DataArguments, ModelArguments, TrainingArguments

Record = dict[str, np.ndarray]


class Objective(ABC):
    """A model, its batches, the terms of its loss, and the metrics of its validation.

    To add one, write a file in `objectives/` with a subclass, and name both in `arguments.OBJECTIVES`. Everything else
    (processes, precision, checkpoints, resuming, reports) is the same for all objectives.

    Args:
        model_args, data_args, args: options of the user.
        feature_extractor: of the model.
        pairs: the training data, for what must be known of it before training.
        tokenizer: of the model; None where the objective needs no captions.
    """

    # Fields of the model's configuration that the objective sets; --config overrides them.
    config_fields: dict = {}
    # Whether rows without a caption are left out, and whether rows have labels.
    needs_captions: bool = True
    needs_labels: bool = False
    # The validation metric by which the best model is chosen, and whether its highest value is the best.
    chosen_by: str = "loss"
    highest_is_best: bool = False

    def __init__(
        self,
        model_args: ModelArguments,
        data_args: DataArguments,
        args: TrainingArguments,
        feature_extractor: MulapFeatureExtractor,
        pairs: PairStream,
        tokenizer: PreTrainedTokenizerBase | None = None,
    ):
        self.model_args = model_args
        self.data_args = data_args
        self.args = args
        self.feature_extractor = feature_extractor
        self.pairs = pairs
        self.tokenizer = tokenizer

    @property
    def preprocessor(self) -> MulapProcessor | MulapFeatureExtractor:
        """What is saved beside the model: a processor if there is a tokenizer, otherwise the feature extractor."""
        if self.tokenizer is None:
            return self.feature_extractor
        return MulapProcessor(self.feature_extractor, self.tokenizer)

    @abstractmethod
    def make_model(self, config: MulapConfig) -> PreTrainedModel:
        """The model to train, with random weights."""

    @abstractmethod
    def make_collator(self, config: MulapConfig, training: bool) -> ClipCollator:
        """Makes batches for training, or for validation: those are the same in every evaluation."""

    @abstractmethod
    def loss_weights(self, config: MulapConfig) -> dict[str, float]:
        """The names of the terms of the loss and their weights."""

    @abstractmethod
    def count(self, batch: dict[str, torch.Tensor]) -> dict[str, int]:
        """The number of items of the batch that each term is the mean of.

        Terms of parts of a step are weighted by it, so that a step is the same however it is split up.
        """

    def forward(self, model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> ModelOutput:
        """The model's output with its loss; `model` may be wrapped."""
        return model(**batch)

    @abstractmethod
    def terms(self, output: ModelOutput) -> dict[str, torch.Tensor]:
        """The terms of the loss in the output, without their weights, under the names of `loss_weights`."""

    @abstractmethod
    def measure(self, output: ModelOutput, batch: dict[str, torch.Tensor]) -> Record:
        """Arrays that `summarize` needs of one batch of validation data, besides the terms and their counts."""

    @abstractmethod
    def summarize(self, records: list[Record]) -> dict[str, float]:
        """Metrics of all batches of validation data, among them the one by which the best model is chosen.

        Args:
            records: of each batch what `measure` returned, every term of the loss, and its count as `NAME_count`.
        """

    def export(self, model: PreTrainedModel) -> PreTrainedModel:
        """The part of the trained model that is saved for users."""
        return model

    def collator_options(self, config: MulapConfig, training: bool) -> dict:
        """Arguments of any `ClipCollator`."""
        rate = self.feature_extractor.sampling_rate
        augmentation = None  # it imports torchaudio
        if training and self.data_args.augment:
            augmentation = Augmentation(rate, pitch=0.0).weakened(self.data_args.augment_strength)
        return {
            "sampling_rate": rate,
            "chunk_length": config.audio_config.chunk_length,
            "augmentation": augmentation,
            "clip_seconds": self.data_args.clip_seconds,
            "min_seconds": self.data_args.min_seconds,
            "random_crop": training and self.data_args.crop == "random",
            "seed": self.args.seed,
        }


def find_objective(name: str) -> type[Objective]:
    """The class of an objective.

    Args:
        name: a key of `arguments.OBJECTIVES`.
    """
    return getattr(import_module(f".objectives.{name}", __package__), OBJECTIVES[name])
