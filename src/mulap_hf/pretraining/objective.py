"""What a backbone can be trained on: the interface of the files in `objectives/`."""

import inspect
from abc import ABC, abstractmethod
from importlib import import_module

import numpy as np
import torch
from transformers import PreTrainedModel

from ..configuration_mulap import MulapConfig
from ..data.augmentation import Augmentation
from ..data.clips import ClipCollator
from ..data.streams import PairStream
from ..processing_mulap import MulapProcessor
from .arguments import DataArguments, ModelArguments, TrainingArguments

Record = dict[str, np.ndarray]


class Objective(ABC):
    """A model, what its batches hold, its losses, and what is measured of it.

    Adding one is adding a file to `objectives/` with one subclass; `--objective` takes the file's name. Everything
    else (processes, precision, checkpoints, resuming, reports) is the same for all.

    Args:
        model_args, data_args, args: what the user asked for.
        processor: of the model.
        pairs: the training data, for what must be known of it beforehand.
    """

    # Fields of the model's configuration that the objective sets; the user's --config comes on top.
    config_fields: dict = {}
    # What it learns from besides the audio: rows without a caption are left out where captions are needed.
    needs_captions: bool = True
    needs_labels: bool = False
    # The validation metric that the best model is chosen by; `highest_is_best`, or the lowest.
    chosen_by: str = "loss"
    highest_is_best: bool = False

    def __init__(
        self,
        model_args: ModelArguments,
        data_args: DataArguments,
        args: TrainingArguments,
        processor: MulapProcessor,
        pairs: PairStream,
    ):
        self.model_args = model_args
        self.data_args = data_args
        self.args = args
        self.processor = processor
        self.pairs = pairs

    @abstractmethod
    def make_model(self, config: MulapConfig) -> PreTrainedModel:
        """The model to train, with random weights."""

    @abstractmethod
    def make_collator(self, config: MulapConfig, training: bool) -> ClipCollator:
        """Batches to train on, or to validate on: there, nothing may change from one evaluation to the next."""

    @abstractmethod
    def loss_weights(self, config: MulapConfig) -> dict[str, float]:
        """The names of the losses and what they count in their sum."""

    @abstractmethod
    def count(self, batch: dict[str, torch.Tensor]) -> dict[str, int]:
        """How many items of the batch each loss is a mean of: so a step is the same however it is split up."""

    @abstractmethod
    def losses(self, model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Every loss of the batch, as a mean; `model` may be wrapped, and has to be called."""

    @abstractmethod
    def measure(self, model: PreTrainedModel, batch: dict[str, torch.Tensor]) -> Record:
        """What `summarize` needs of one batch of validation data, as arrays."""

    @abstractmethod
    def summarize(self, records: list[Record]) -> dict[str, float]:
        """The metrics of all batches of validation data, among them the one that the best model is chosen by."""

    def export(self, model: PreTrainedModel) -> PreTrainedModel:
        """What is saved for users of the trained model."""
        return model

    def collator_options(self, config: MulapConfig, training: bool) -> dict:
        """Arguments of any `ClipCollator`."""
        rate = self.processor.feature_extractor.sampling_rate
        return {
            "processor": self.processor,
            "chunk_length": config.audio_config.chunk_length,
            "augmentation": Augmentation(rate, pitch=0.0) if training and self.data_args.augment else None,
            "clip_seconds": self.data_args.clip_seconds,
            "random_crop": training and self.data_args.crop == "random",
            "seed": self.args.seed,
        }


def find_objective(name: str) -> type[Objective]:
    """The class in `objectives/{name}.py`."""
    module = import_module(f".objectives.{name}", __package__)
    return next(
        kind
        for kind in vars(module).values()
        if inspect.isclass(kind) and issubclass(kind, Objective) and kind.__module__ == module.__name__
    )
