"""Saving of a backbone and its probe as one `MulapForAudioClassification` folder."""

import copy
from pathlib import Path

from ..configuration_mulap import MulapConfig
from ..data.schema import Task
from ..feature_extraction_mulap import MulapFeatureExtractor
from ..modeling_mulap import MulapForAudioClassification
from ..modeling_mulap_audio import MulapAudioModel
from ..pretraining.classification import set_outputs
from .arguments import ProbeArguments
from .probe import Probe


def save_classifier(folder: Path, backbone: MulapAudioModel, probe: Probe, args: ProbeArguments, task: Task):
    """Save a `MulapForAudioClassification` and its feature extractor.

    Args:
        folder: The output folder.
        backbone: The backbone that computed the features; it is not changed.
        probe: The trained head.
        args: The arguments of the head.
        task: The task, with the names of the outputs and the length of the input.
    """
    config = MulapConfig(
        audio_config=copy.deepcopy(backbone.config),
        classifier_head=args.head,
        classifier_hidden_size=args.hidden_size,
        classifier_dropout=args.dropout,
        freeze_audio=True,
    )
    set_outputs(config, task)
    model = MulapForAudioClassification(config)
    model.audio_model.load_state_dict(backbone.state_dict())
    model.classifier.load_state_dict(probe.head.state_dict())
    model.to(next(backbone.parameters()).dtype).save_pretrained(folder)
    make_feature_extractor(backbone.config.sampling_rate, task).save_pretrained(folder)


def make_feature_extractor(sampling_rate: int, task: Task) -> MulapFeatureExtractor:
    """Return a feature extractor that crops each track to the length that the task uses."""
    crop = {"max_seconds": task.seconds, "crop": "first"} if task.seconds else {}
    return MulapFeatureExtractor(sampling_rate=sampling_rate, **crop)
