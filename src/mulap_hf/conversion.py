"""Checkpoints in the published formats of MuLaP and of MusiCNN, as models of this package."""

import pickle
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoTokenizer, PreTrainedModel

from .configuration_mulap import MulapConfig
from .conversion_config import read_mulap_config, read_text
from .errors import ModelError
from .feature_extraction_mulap import MulapFeatureExtractor
from .files import make_folder
from .modeling_mulap import MulapForAudioClassification, MulapForPreTraining
from .processing_mulap import MulapProcessor

StateDict = dict[str, torch.Tensor]

# Published names -> ours: regular expressions, applied one after the other.
MUSICNN_NAMES = [
    (r"^spec\.spectrogram\.window$", "audio_model.log_mel.window"),
    (r"^spec\.mel_scale\.fb$", "audio_model.log_mel.mel_filters"),
    (r"^spec_bn\.", "audio_model.musicnn.input_norm."),
    (r"^layers\.0\.", "audio_model.musicnn.timbral.0."),
    (r"^layers\.1\.", "audio_model.musicnn.timbral.1."),
    (r"^layers\.2\.", "audio_model.musicnn.temporal.0."),
    (r"^layers\.3\.", "audio_model.musicnn.temporal.1."),
    (r"^layers\.4\.", "audio_model.musicnn.temporal.2."),
    (r"^layer1\.", "audio_model.musicnn.midend.0."),
    (r"^layer2\.", "audio_model.musicnn.midend.1."),
    (r"^layer3\.", "audio_model.musicnn.midend.2."),
    (r"^(audio_model\..*)\.bn\.", r"\1.norm."),
    (r"^dense1\.", "classifier.0."),
    (r"^bn\.", "classifier.1."),
    (r"^dense2\.", "classifier.4."),
]
BERT_NAMES = [
    (r"^bert\.embeddings\.(word|position)_embeddings\.", r"text_embeddings.\1_embeddings."),
    (r"^bert\.embeddings\.LayerNorm\.", "text_embeddings.norm."),
    (r"^bert\.encoder\.layer\.", "text_layers."),
    (r"\.attention\.self\.query\.", ".attention.q_proj."),
    (r"\.attention\.self\.key\.", ".attention.k_proj."),
    (r"\.attention\.self\.value\.", ".attention.v_proj."),
    (r"\.attention\.output\.dense\.", ".attention.out_proj."),
    (r"\.attention\.output\.LayerNorm\.", ".attention.norm."),
    (r"\.intermediate\.dense\.", ".feed_forward.fc1."),
    (r"\.output\.dense\.", ".feed_forward.fc2."),
    (r"\.output\.LayerNorm\.", ".feed_forward.norm."),
]
# In a connection, 1 is the audio and 2 the text; key1 and value1 answer the text's queries, and the other way round.
MULAP_NAMES = [
    (r"^audio_backbone\.feature_extractor\.", ""),
    (r"^bert\.encoder\.a_layer\.", "audio_layers."),
    (r"^bert\.encoder\.c_layer\.", "connections."),
    (r"\.biattention\.query1\.", ".audio_attention.q_proj."),
    (r"\.biattention\.key2\.", ".audio_attention.k_proj."),
    (r"\.biattention\.value2\.", ".audio_attention.v_proj."),
    (r"\.biattention\.query2\.", ".text_attention.q_proj."),
    (r"\.biattention\.key1\.", ".text_attention.k_proj."),
    (r"\.biattention\.value1\.", ".text_attention.v_proj."),
    (r"\.bioutput\.dense1\.", ".audio_attention.out_proj."),
    (r"\.bioutput\.LayerNorm1\.", ".audio_attention.norm."),
    (r"\.bioutput\.dense2\.", ".text_attention.out_proj."),
    (r"\.bioutput\.LayerNorm2\.", ".text_attention.norm."),
    (r"\.a_intermediate\.dense\.", ".audio_feed_forward.fc1."),
    (r"\.a_output\.dense\.", ".audio_feed_forward.fc2."),
    (r"\.a_output\.LayerNorm\.", ".audio_feed_forward.norm."),
    (r"\.t_intermediate\.dense\.", ".text_feed_forward.fc1."),
    (r"\.t_output\.dense\.", ".text_feed_forward.fc2."),
    (r"\.t_output\.LayerNorm\.", ".text_feed_forward.norm."),
    (r"^bert\.audio_embeddings\.audio_embeddings\.", "audio_embeddings.projection."),
    (r"^bert\.audio_embeddings\.audio_location_embeddings\.", "audio_embeddings.position_embeddings."),
    (r"^bert\.audio_embeddings\.LayerNorm\.", "audio_embeddings.norm."),
    (r"^bert\.t_pooler\.dense\.", "text_pooler."),
    (r"^bert\.a_pooler\.dense\.", "audio_pooler."),
    (r"^cls\.text_predictions\.bias$", "mlm_head.decoder.bias"),
    (r"^cls\.text_predictions\.", "mlm_head."),
    (r"^cls\.audio_predictions\.", "mam_head."),
    (r"^(mlm|mam)_head\.transform\.dense\.", r"\1_head.dense."),
    (r"^(mlm|mam)_head\.transform\.LayerNorm\.", r"\1_head.norm."),
    (r"^cls\.bi_seq_relationship\.", "matching_head."),
    *BERT_NAMES,
    *MUSICNN_NAMES,
]


# A name that a network of each format has.
_MUSICNN_ANCHOR = "spec_bn.weight"
_MULAP_ANCHOR = "audio_backbone.feature_extractor.spec_bn.weight"
_STATE_KEYS = ("state_dict", "model_state_dict", "model")
_WRAPPERS = ("module", "_orig_mod")  # of DataParallel, of torch.compile
_LOG_MEL = ("audio_model.log_mel.window", "audio_model.log_mel.mel_filters")


def first_line(error: Exception) -> str:
    """What an error says, in one line; of a configuration's, what its check says."""
    told = error.__cause__ if isinstance(error, StrictDataclassError) else error
    return str(told).strip().partition("\n")[0] or type(told).__name__


@dataclass
class Converted:
    """What became of a checkpoint.

    model: in eval mode, float32.
    unused: the names in the checkpoint that have no place in the model.
    recomputed: the model's buffers that the checkpoint lacks, or has in half precision only.
    """

    model: PreTrainedModel
    unused: list[str]
    recomputed: list[str]


def convert_mulap(checkpoint: str | Path, config: str | Path) -> Converted:
    """A published MuLaP checkpoint with its `config.yaml` as a `MulapForPreTraining`.

    Raises:
        ModelError: a file is not of the published format, or the weights do not fit the configuration.
    """
    weights = _unwrap(read_checkpoint(checkpoint), _MULAP_ANCHOR, checkpoint)
    positions = weights.get("bert.audio_embeddings.audio_location_embeddings.weight")
    if positions is None:
        raise ModelError(f"{checkpoint}: has no bert.audio_embeddings: it is not a published MuLaP")
    try:
        model = MulapForPreTraining(read_mulap_config(config, len(positions)))
    except StrictDataclassError as error:
        raise ModelError(f"{config}: {first_line(error)}") from error
    except KeyError as error:
        raise ModelError(f"{config}: hidden_act {error} is not an activation that transformers knows") from error
    return _load(model, weights, MULAP_NAMES, checkpoint)


def convert_musicnn(checkpoint: str | Path, labels: str | Path) -> Converted:
    """A supervised MusiCNN (Won et al., SMC 2020) with its tags, one per line, as a `MulapForAudioClassification`.

    Raises:
        ModelError: a file is not of the published format, or there are more or fewer labels than outputs.
    """
    weights = _unwrap(read_checkpoint(checkpoint), _MUSICNN_ANCHOR, checkpoint)
    tags = [line.strip() for line in read_text(labels).splitlines() if line.strip()]
    for name in ("dense1.weight", "dense2.weight"):
        if name not in weights:
            raise ModelError(f"{checkpoint}: has no {name!r}: it is not a MusiCNN tagger")
    outputs = len(weights["dense2.weight"])
    if len(tags) != outputs:
        raise ModelError(f"{labels}: {len(tags)} labels for a tagger with {outputs} outputs ({checkpoint})")
    config = MulapConfig(
        classifier_head="musicnn",
        classifier_hidden_size=len(weights["dense1.weight"]),
        classifier_dropout=0.5,
        problem_type="multi_label_classification",
        id2label=dict(enumerate(tags)),
        label2id={tag: index for index, tag in enumerate(tags)},
    )
    return _load(MulapForAudioClassification(config), weights, MUSICNN_NAMES, checkpoint)


def read_checkpoint(path: str | Path) -> StateDict:
    """The tensors of a checkpoint by name: bare, or under one of the keys that training libraries use.

    Names are without the components that DataParallel and `torch.compile` add.

    Raises:
        ModelError: the file does not exist, is not a checkpoint, or holds more than tensors and plain values.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise ModelError(f"{path}: the file does not exist") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise ModelError(
            f"{path}: not a PyTorch checkpoint that can be read safely (weights_only=True): {first_line(error)}"
        ) from error
    if isinstance(content, dict):
        content = next((content[key] for key in _STATE_KEYS if isinstance(content.get(key), dict)), content)
    if not isinstance(content, dict) or not content or not all(torch.is_tensor(value) for value in content.values()):
        raise ModelError(f"{path}: holds no state dict, neither at its top nor under {' or '.join(_STATE_KEYS)}")
    weights = {".".join(part for part in name.split(".") if part not in _WRAPPERS): content[name] for name in content}
    if len(weights) < len(content):
        raise ModelError(f"{path}: holds a network twice, with and without {' or '.join(_WRAPPERS)} in its names")
    return weights


def rename(names: Iterable[str], rules: list[tuple[str, str]]) -> dict[str, str]:
    """Published name -> ours."""
    renamed = {}
    for name in names:
        new = name
        for pattern, replacement in rules:
            new = re.sub(pattern, replacement, new)
        renamed[name] = new
    return renamed


def _unwrap(weights: StateDict, anchor: str, source: str | Path) -> StateDict:
    """The weights of the network inside a larger module, Lightning's for instance, which names it as it likes.

    Args:
        weights: by name.
        anchor: a name that the network has, by which its prefix is found; without it nothing is done.
        source: what a message calls the file.

    Raises:
        ModelError: there are several such networks.
    """
    prefixes = [name.removesuffix(anchor) for name in weights if name == anchor or name.endswith(f".{anchor}")]
    if len(prefixes) > 1:
        found = ", ".join(f"{prefix!r}" for prefix in prefixes)
        raise ModelError(f"{source}: holds {len(prefixes)} networks, named {found}: save one of them alone")
    prefix = prefixes[0] if prefixes else ""
    return {name.removeprefix(prefix): value for name, value in weights.items()}


def _load(model: PreTrainedModel, weights: StateDict, rules: list[tuple[str, str]], source: str | Path) -> Converted:
    """Fills every weight of the model, or says which are missing or do not fit."""
    names = rename(weights, rules)
    wanted = model.state_dict()
    found = {new: weights[old] for old, new in names.items() if new in wanted}
    recomputed = [name for name in wanted if _recomputable(name) and _is_worse(found.get(name))]
    missing = [name for name in wanted if name not in found and name not in recomputed]
    if missing:
        raise ModelError(f"{source}: {_listed(missing)} missing: the checkpoint is of another model")
    misfits = [
        f"{name} is {tuple(value.shape)} in the file, {tuple(wanted[name].shape)} by the configuration"
        for name, value in found.items()
        if value.shape != wanted[name].shape and value.numel()
    ]
    if misfits:
        raise ModelError(f"{source}: {_listed(misfits)}")
    broken = [name for name, value in found.items() if value.is_floating_point() and not value.isfinite().all()]
    if broken:
        raise ModelError(f"{source}: {_listed(broken)} NaN or infinite: convert a checkpoint that was saved before")
    for name in _LOG_MEL:
        value = found.get(name, wanted[name])
        precision = max(1e-4, torch.finfo(value.dtype).eps)
        if value.numel() and not torch.allclose(value.float(), wanted[name], rtol=precision, atol=precision):
            raise ModelError(f"{source}: its {name} is another one: the checkpoint was made with another log-mel")
    model.load_state_dict(found | {name: wanted[name] for name in recomputed})
    return Converted(model.eval(), sorted(old for old, new in names.items() if new not in wanted), recomputed)


def _recomputable(name: str) -> bool:
    """Whether the model has the right value of a buffer without a checkpoint."""
    return name in _LOG_MEL or name.endswith(".num_batches_tracked")


def _is_worse(value: torch.Tensor | None) -> bool:
    """Whether a buffer of the checkpoint is missing, empty, or rounded to half precision."""
    return value is None or value.numel() == 0 or (value.is_floating_point() and value.itemsize < 4)


def _listed(items: list[str], most: int = 5) -> str:
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(items[:most]) + more


def save_converted(converted: Converted, output: Path, tokenizer: str | None = None):
    """Saves a converted model with its processor; without a tokenizer, with its feature extractor.

    Raises:
        ModelError: the tokenizer cannot be loaded, or is not the one that the model was trained with.
        MulapError: the folder cannot be created.
    """
    feature_extractor = MulapFeatureExtractor(sampling_rate=converted.model.config.audio_config.sampling_rate)
    if tokenizer is not None:
        try:
            processor = MulapProcessor(feature_extractor, AutoTokenizer.from_pretrained(tokenizer))
        except (OSError, ValueError) as error:
            raise ModelError(f"--tokenizer {tokenizer} cannot be loaded: {first_line(error)}") from error
        vocabulary, words = len(processor.tokenizer), converted.model.config.text_config.vocab_size
        if vocabulary > words:
            raise ModelError(f"{tokenizer} has {vocabulary} tokens, the checkpoint {words}: not its tokenizer")
        saved = processor
    else:
        saved = feature_extractor
    make_folder(output, "--output")
    saved.save_pretrained(output)
    converted.model.save_pretrained(output)
