"""Tells transformers' Auto classes and pipelines about MuLaP, as soon as a program has both.

Importing transformers' models takes seconds, so `import mulap_hf` does not: it waits, by an import hook, until the
program imports them. By then `AutoModel.from_pretrained` has to know MuLaP, whichever was imported first.
"""

import sys
import threading
from functools import partial
from importlib.abc import MetaPathFinder

_WATCHED = ("transformers", "mulap_hf")
_TRIGGERS = ("transformers.models.auto.configuration_auto", "mulap_hf.configuration_mulap")


def register_when_imported():
    """Registers MuLaP now if transformers' Auto classes are imported, else as soon as they are."""
    if not any(isinstance(finder, _Watcher) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Watcher())
        sys.meta_path[0].look()


class _Watcher(MetaPathFinder):
    """Looks for the Auto classes whenever an import from a watched package is complete.

    Only the outermost import counts: while it runs, modules further in are complete but those around them are not, and
    the models import both.
    """

    def __init__(self):
        self._nesting = threading.local()

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in _WATCHED:
            return None
        others = (finder for finder in sys.meta_path if finder is not self and hasattr(finder, "find_spec"))
        spec = next(filter(None, (finder.find_spec(name, path, target) for finder in others)), None)
        if spec is not None and hasattr(spec.loader, "exec_module"):
            spec.loader.exec_module = partial(self._execute, spec.loader.exec_module)
        return spec

    def _execute(self, execute, module):
        depth = getattr(self._nesting, "depth", 0)
        self._nesting.depth = depth + 1
        try:
            execute(module)
        finally:
            self._nesting.depth = depth
        if depth == 0:
            self.look()

    def look(self):
        """Registers MuLaP if it is time, and stops watching."""
        if self not in sys.meta_path or not any(name in sys.modules for name in _TRIGGERS):
            return
        sys.meta_path.remove(self)
        try:
            register()
        except BaseException:  # torch may be broken: the next import tries again, and fails with the same message
            sys.meta_path.insert(0, self)
            raise


def register():
    """Makes the Auto classes know MuLaP, and saved folders carry its code."""
    from transformers import (
        AutoConfig,
        AutoFeatureExtractor,
        AutoModel,
        AutoModelForAudioClassification,
        AutoModelForPreTraining,
        AutoProcessor,
    )
    from transformers.pipelines import PIPELINE_REGISTRY

    from .configuration_mulap import MulapAudioConfig, MulapConfig
    from .configuration_mulap_similarity import MulapSimilarityConfig
    from .feature_extraction_mulap import MulapFeatureExtractor
    from .modeling_mulap import MulapForAudioClassification, MulapForPreTraining, MulapModel
    from .modeling_mulap_audio import MulapAudioModel
    from .modeling_mulap_similarity import MulapForMusicSimilarity
    from .pipeline_mulap import MulapTextMusicRetrievalPipeline
    from .pipeline_mulap_similarity import MulapMusicSimilarityPipeline
    from .processing_mulap import MulapProcessor

    for config in (MulapConfig, MulapAudioConfig, MulapSimilarityConfig):
        AutoConfig.register(config.model_type, config, exist_ok=True)
        AutoFeatureExtractor.register(config, MulapFeatureExtractor, exist_ok=True)
        config.register_for_auto_class()
    for auto, config, model in (
        (AutoModel, MulapConfig, MulapModel),
        (AutoModel, MulapAudioConfig, MulapAudioModel),
        (AutoModel, MulapSimilarityConfig, MulapForMusicSimilarity),
        (AutoModelForPreTraining, MulapConfig, MulapForPreTraining),
        (AutoModelForAudioClassification, MulapConfig, MulapForAudioClassification),
    ):
        auto.register(config, model, exist_ok=True)
        model.register_for_auto_class(auto.__name__)
    AutoProcessor.register(MulapConfig, MulapProcessor, exist_ok=True)
    MulapFeatureExtractor.register_for_auto_class()
    MulapProcessor.register_for_auto_class()
    # The other pipelines' tasks are transformers' own, and every other model in the process needs them as they are.
    PIPELINE_REGISTRY.register_pipeline("music-similarity", MulapMusicSimilarityPipeline, AutoModel, type="audio")
    PIPELINE_REGISTRY.register_pipeline(
        "text-music-retrieval", MulapTextMusicRetrievalPipeline, AutoModel, type="multimodal"
    )
