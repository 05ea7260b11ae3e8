"""MuLaP as a model of MTEB: an encoder for `mteb.evaluate`, and the metadata that MTEB keeps of every model."""

import warnings
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Audio
from huggingface_hub import ModelCard, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError
from mteb.models import ModelMeta
from mteb.models.sentence_transformer_wrapper import SentenceTransformerEncoderWrapper
from pydantic import ValidationError
from sentence_transformers import SentenceTransformer
from tqdm import tqdm

from ..loading import backbone_fingerprint, loading_errors, model_fingerprint
from ..sentence_mulap import MulapSentenceModule

_CITATION = """@inproceedings{manco2022mulap,
  title = {Learning Music Audio Representations Via Weak Language Supervision},
  author = {Manco, Ilaria and Benetos, Emmanouil and Quinton, Elio and Fazekas, Gyorgy},
  booktitle = {IEEE International Conference on Acoustics, Speech and Signal Processing (ICASSP)},
  year = {2022}
}"""


class MulapEncoder(SentenceTransformerEncoderWrapper):
    """A MuLaP model, as `mteb.evaluate` takes it: `mteb.evaluate(MulapEncoder("outputs/pretrained"), tasks)`.

    Embeddings are those of `SentenceTransformer`. Audio is decoded as everywhere in this package, so the tasks need
    neither torchcodec nor FFmpeg.

    Args:
        model: Folder or Hub name.
        device: Device of the computation; None for a GPU if one is available, else the CPU.

    Attributes:
        weights: Fingerprint of the model's weights.

    Raises:
        ModelError: The model cannot be loaded.
    """

    def __init__(self, model: str, device: str | None = None):
        with loading_errors(model):
            module = MulapSentenceModule.load(model)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # MTEB uses names that sentence-transformers and MTEB have replaced
            super().__init__(SentenceTransformer(modules=[module], device=device))
        self.mteb_model_meta = model_meta(model, module)
        self.weights = (backbone_fingerprint if module.tokenizer is None else model_fingerprint)(module.model)

    def encode(self, inputs, *, task_metadata, hf_split, hf_subset, prompt_type=None, **kwargs) -> np.ndarray:
        """Return the embeddings `(rows, size)` of a split; the arguments are those of MTEB."""
        rows, size = inputs.dataset, kwargs.get("batch_size", 16)
        column = "audio" if "audio" in rows.column_names else "text"
        if isinstance(rows.features[column], Audio):
            rows = rows.cast_column(column, Audio(decode=False))
        starts = range(0, len(rows), size)
        bar = tqdm(starts, desc=f"{task_metadata.name}, {hf_split}", disable=not kwargs.get("show_progress_bar", True))
        batches = (rows[start : start + size][column] for start in bar)
        return np.concatenate([self.model.encode(list(batch), batch_size=size) for batch in batches])


def model_meta(model: str, module: MulapSentenceModule) -> ModelMeta:
    """Return the metadata of a model, by which MTEB loads it through sentence-transformers, without this package.

    Args:
        model: Folder or Hub name.
        module: The loaded model.
    """
    card = _card(model)
    parameters = sum(value.numel() for value in module.model.parameters())
    words = 0 if module.tokenizer is None else module.model.get_input_embeddings().weight.numel()
    local = Path(model).is_dir()
    facts: dict[str, Any] = {
        "loader": SentenceTransformerEncoderWrapper,
        "loader_kwargs": {"trust_remote_code": True},
        "name": f"local/{Path(model).resolve().name}" if local else model,
        "revision": _digest(Path(model)) if local else _commit(model),
        "release_date": None,
        "languages": ["eng-Latn"] if module.tokenizer is not None else None,
        "modalities": ["audio"] if module.tokenizer is None else ["text", "audio"],
        "n_parameters": parameters,
        "n_embedding_parameters": words,
        "memory_usage_mb": round(parameters * 4 / 2**20),
        "max_tokens": module.max_seq_length,
        "embed_dim": module.get_embedding_dimension(),
        "license": card.get("license"),
        "open_weights": True,
        "public_training_code": "https://pypi.org/project/mulap-hf/",
        "public_training_data": None,
        "framework": ["Sentence Transformers", "PyTorch"],
        "reference": None if local else f"https://huggingface.co/{model}",
        "similarity_fn_name": "cosine",
        "use_instructions": False,
        "training_datasets": None,
        "citation": _CITATION,
    }
    try:
        return ModelMeta(**facts)
    except ValidationError:  # MTEB knows some licenses only
        return ModelMeta(**facts | {"license": None})


def contribution(meta: ModelMeta) -> str:
    """Return a module for `mteb/models/model_implementations`, to be contributed once the model is on the Hub."""
    return (
        "from mteb.models.model_meta import ModelMeta, ScoringFunction\n"
        "from mteb.models.sentence_transformer_wrapper import SentenceTransformerEncoderWrapper\n\n"
        f"mulap = {meta.to_python()}\n"
    )


def _card(model: str) -> dict[str, Any]:
    """The metadata of a model's card; {} if there is none."""
    path = Path(model, "README.md") if Path(model).is_dir() else model
    try:
        return ModelCard.load(path).data.to_dict()
    except (EntryNotFoundError, LocalEntryNotFoundError, HfHubHTTPError, OSError, ValueError):
        return {}


def _commit(model: str) -> str | None:
    """The commit of a model of the Hub that was loaded."""
    file = try_to_load_from_cache(model, "config.json")
    return Path(file).parent.name if isinstance(file, str) else None


def _digest(folder: Path) -> str:
    """A name for the weights, so that results of other weights in the same folder are not taken for theirs."""
    digest = sha256()
    for file in sorted(folder.glob("*.safetensors")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]
