"""MuLaP: music audio representations from audio and noisy descriptions.

Names are imported when they are used, because torch and transformers take seconds to import. The Auto classes and
pipelines of transformers know MuLaP nevertheless; see `registration`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .registration import register_when_imported

if TYPE_CHECKING:
    from .audio import audio_seconds as audio_seconds
    from .audio import load_audio as load_audio
    from .configuration_mulap import MulapAudioConfig as MulapAudioConfig
    from .configuration_mulap import MulapConfig as MulapConfig
    from .configuration_mulap import MulapTextConfig as MulapTextConfig
    from .configuration_mulap_similarity import MulapSimilarityConfig as MulapSimilarityConfig
    from .errors import AudioError as AudioError
    from .errors import AudioWarning as AudioWarning
    from .errors import MulapError as MulapError
    from .feature_extraction_mulap import MulapFeatureExtractor as MulapFeatureExtractor
    from .modeling_mulap import MulapForAudioClassification as MulapForAudioClassification
    from .modeling_mulap import MulapForPreTraining as MulapForPreTraining
    from .modeling_mulap import MulapModel as MulapModel
    from .modeling_mulap_audio import MulapAudioModel as MulapAudioModel
    from .modeling_mulap_similarity import MulapForMusicSimilarity as MulapForMusicSimilarity
    from .pipeline_mulap import MulapAudioClassificationPipeline as MulapAudioClassificationPipeline
    from .pipeline_mulap import MulapFeatureExtractionPipeline as MulapFeatureExtractionPipeline
    from .pipeline_mulap import MulapTextMusicRetrievalPipeline as MulapTextMusicRetrievalPipeline
    from .pipeline_mulap import MulapZeroShotAudioClassificationPipeline as MulapZeroShotAudioClassificationPipeline
    from .pipeline_mulap_similarity import MulapMusicSimilarityPipeline as MulapMusicSimilarityPipeline
    from .processing_mulap import MulapProcessor as MulapProcessor

__version__ = "0.1.0"

_MODULES = {
    "AudioError": "errors",
    "AudioWarning": "errors",
    "MulapAudioClassificationPipeline": "pipeline_mulap",
    "MulapAudioConfig": "configuration_mulap",
    "MulapAudioModel": "modeling_mulap_audio",
    "MulapConfig": "configuration_mulap",
    "MulapError": "errors",
    "MulapFeatureExtractionPipeline": "pipeline_mulap",
    "MulapFeatureExtractor": "feature_extraction_mulap",
    "MulapForAudioClassification": "modeling_mulap",
    "MulapForMusicSimilarity": "modeling_mulap_similarity",
    "MulapForPreTraining": "modeling_mulap",
    "MulapModel": "modeling_mulap",
    "MulapMusicSimilarityPipeline": "pipeline_mulap_similarity",
    "MulapProcessor": "processing_mulap",
    "MulapSimilarityConfig": "configuration_mulap_similarity",
    "MulapTextConfig": "configuration_mulap",
    "MulapTextMusicRetrievalPipeline": "pipeline_mulap",
    "MulapZeroShotAudioClassificationPipeline": "pipeline_mulap",
    "audio_seconds": "audio",
    "load_audio": "audio",
}
"""Where the public names are defined."""

__all__ = [*_MODULES]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_MODULES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


register_when_imported()
