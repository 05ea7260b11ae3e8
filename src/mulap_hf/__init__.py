"""MuLaP: music audio representations from audio and noisy descriptions."""

from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModel,
    AutoModelForAudioClassification,
    AutoModelForPreTraining,
    AutoProcessor,
)
from transformers.pipelines import PIPELINE_REGISTRY

from .audio import audio_seconds, load_audio
from .configuration_mulap import MulapAudioConfig, MulapConfig, MulapTextConfig
from .errors import AudioError
from .feature_extraction_mulap import MulapFeatureExtractor
from .modeling_mulap import MulapForAudioClassification, MulapForPreTraining, MulapModel
from .modeling_mulap_audio import MulapAudioModel
from .pipeline_mulap import (
    MulapAudioClassificationPipeline,
    MulapFeatureExtractionPipeline,
    MulapTextMusicRetrievalPipeline,
    MulapZeroShotAudioClassificationPipeline,
)
from .processing_mulap import MulapProcessor

__version__ = "0.1.0"


def _register():
    """Makes the Auto classes know MuLaP, and saved folders carry its code."""
    for config in (MulapConfig, MulapAudioConfig):
        AutoConfig.register(config.model_type, config, exist_ok=True)
        AutoFeatureExtractor.register(config, MulapFeatureExtractor, exist_ok=True)
        config.register_for_auto_class()
    for auto, config, model in (
        (AutoModel, MulapConfig, MulapModel),
        (AutoModel, MulapAudioConfig, MulapAudioModel),
        (AutoModelForPreTraining, MulapConfig, MulapForPreTraining),
        (AutoModelForAudioClassification, MulapConfig, MulapForAudioClassification),
    ):
        auto.register(config, model, exist_ok=True)
        model.register_for_auto_class(auto.__name__)
    AutoProcessor.register(MulapConfig, MulapProcessor, exist_ok=True)
    MulapFeatureExtractor.register_for_auto_class()
    MulapProcessor.register_for_auto_class()
    # The other pipelines' tasks are transformers' own, and every other model in the process needs them as they are.
    PIPELINE_REGISTRY.register_pipeline(
        "text-music-retrieval", MulapTextMusicRetrievalPipeline, AutoModel, type="multimodal"
    )


_register()

__all__ = [
    "AudioError",
    "MulapAudioClassificationPipeline",
    "MulapAudioConfig",
    "MulapAudioModel",
    "MulapConfig",
    "MulapFeatureExtractionPipeline",
    "MulapFeatureExtractor",
    "MulapForAudioClassification",
    "MulapForPreTraining",
    "MulapModel",
    "MulapProcessor",
    "MulapTextConfig",
    "MulapTextMusicRetrievalPipeline",
    "MulapZeroShotAudioClassificationPipeline",
    "audio_seconds",
    "load_audio",
]
