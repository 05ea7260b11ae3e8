"""What a saved folder says to the tools that load it: `transformers.pipeline` and sentence-transformers."""

from typing import TYPE_CHECKING, Any

from transformers import PreTrainedConfig

if TYPE_CHECKING:
    # Never runs. transformers saves the relative imports of a model's code beside it: this adds the code of the tools.
    from .pipeline_mulap import MulapPairPipeline  # noqa: F401
    from .pipeline_mulap_similarity import MulapMusicSimilarityPipeline  # noqa: F401
    from .sentence_mulap import MulapSentenceModule  # noqa: F401

CLASSIFIER = "MulapForAudioClassification"
BACKBONE = "MulapAudioModel"
SIMILARITY = "MulapForMusicSimilarity"
MATCHING, CONTRASTIVE = "matching", "contrastive"

# The files by which sentence-transformers loads a saved folder, and from which MTEB knows what it can encode.
SENTENCE_TRANSFORMERS_FILES = ("modules.json", "config_sentence_transformers.json", "sentence_bert_config.json")


def sentence_transformers_files(config: PreTrainedConfig, architecture: str) -> dict[str, Any]:
    """The content of the `SENTENCE_TRANSFORMERS_FILES`, by name.

    Args:
        config: of the model that is saved.
        architecture: name of its class.
    """
    modalities = ["text", "audio"] if has_joint_space(config, architecture) else ["audio"]
    contents = (
        [{"idx": 0, "name": "0", "path": "", "type": "sentence_mulap.MulapSentenceModule"}],
        {"model_type": "SentenceTransformer", "similarity_fn_name": "cosine"},
        {"modality_config": {name: {"method": "forward"} for name in modalities}},
    )
    return dict(zip(SENTENCE_TRANSFORMERS_FILES, contents, strict=True))


def has_joint_space(config: PreTrainedConfig, architecture: str) -> bool:
    """Whether a saved model embeds texts and audio in one space that was trained; arguments as above."""
    return architecture not in (CLASSIFIER, BACKBONE, SIMILARITY) and CONTRASTIVE in trained_scores(config)


def trained_scores(config: PreTrainedConfig) -> list[str]:
    """The scores of audio against text that a model was trained for: "matching", "contrastive", both or none.

    Args:
        config: of a model with a text side.
    """
    kinds = []
    if config.connection_text_layers and config.matching_loss_weight:
        kinds.append(MATCHING)
    if config.projection_size and config.contrastive_loss_weight:
        kinds.append(CONTRASTIVE)
    return kinds


def custom_pipelines(config: PreTrainedConfig, architecture: str) -> dict[str, dict[str, Any]]:
    """The value of `config.custom_pipelines`: by task, the pipeline's class and the Auto class of its model.

    Args:
        config: of the model that is saved.
        architecture: name of its class.
    """
    auto_class = "AutoModelForAudioClassification" if architecture == CLASSIFIER else "AutoModel"

    def entry(name: str, kind: str, module: str = "pipeline_mulap") -> dict[str, Any]:
        return {"impl": f"{module}.{name}", "pt": [auto_class], "type": kind}

    pipelines = {"feature-extraction": entry("MulapFeatureExtractionPipeline", "audio")}
    if architecture == CLASSIFIER:
        pipelines["audio-classification"] = entry("MulapAudioClassificationPipeline", "audio")
    elif architecture == SIMILARITY:
        pipelines["music-similarity"] = entry("MulapMusicSimilarityPipeline", "audio", "pipeline_mulap_similarity")
    elif architecture != BACKBONE and trained_scores(config):
        pipelines["zero-shot-audio-classification"] = entry("MulapZeroShotAudioClassificationPipeline", "multimodal")
        pipelines["text-music-retrieval"] = entry("MulapTextMusicRetrievalPipeline", "multimodal")
    return pipelines
