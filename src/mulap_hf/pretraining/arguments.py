"""Options of the training scripts: every field is a command-line flag and a key of a recipe."""

import json
from dataclasses import dataclass

from ..arguments import check_names, check_numbers, option
from ..errors import DataError

# Values of --objective, each the name of a file in `objectives/`, and the class in that file.
OBJECTIVES = {
    "mulap": "MulapObjective",
    "muscall": "MuscallObjective",
    "simclr": "SimclrObjective",
    "supervised": "SupervisedObjective",
}
PRESETS = ["published", "small", "tiny"]
# Options that do not affect the result; they may change when a run resumes.
FREE_OPTIONS = ("output_dir", "overwrite_output", "log_steps", "cpu_threads", "keep_checkpoints", "trackers")


@dataclass
class ModelArguments:
    """The model and the training objective."""

    objective: str = option(
        "mulap", "Training objective: a file in src/mulap_hf/pretraining/objectives.", choices=list(OBJECTIVES)
    )
    preset: str = option("tiny", "Sizes of the model.", choices=PRESETS)
    text_model: str | None = option(
        None,
        "Hub name or folder of a BERT model whose first layers and tokenizer initialize the text stream. Default: "
        "random initialization.",
    )
    num_text_layers: int = option(6, "Number of layers of --text_model to use.")
    config: str | None = option(
        None, """Fields of MulapConfig that differ from the preset, as JSON, for example '{"fusion": "sum"}'."""
    )
    backbone: str | None = option(
        None, "MuLaP folder whose audio backbone initializes the model, for example a converted supervised MusiCNN."
    )
    freeze_text: bool = option(False, "Do not train the text stream.")
    vocab_size: int = option(1024, "Vocabulary size of the tokenizer trained on the captions, without --text_model.")
    gradient_checkpointing: bool = option(
        False, "Recompute the Transformer layers in the backward pass, which saves memory and takes time."
    )
    compile: bool = option(False, "Use torch.compile, which is faster on GPUs after minutes of compilation.")

    def config_fields(self) -> dict:
        """Return `config` as a dictionary.

        Raises:
            DataError: The text is not a JSON object, or has a field that MulapConfig does not have.
        """
        from ..configuration_mulap import MulapConfig

        try:
            content = json.loads(self.config or "{}")
        except ValueError as error:
            raise DataError(f"--config {self.config}: not JSON ({error})") from error
        if not isinstance(content, dict):
            raise DataError(f"--config {self.config}: not a JSON object of fields")
        check_names(content, list(MulapConfig.__annotations__), "--config")
        for name, kind in MulapConfig.sub_configs.items():
            if not isinstance(content.get(name, {}), dict):
                raise DataError(f"--config: {name} is {content[name]!r}, not a JSON object of fields")
            check_names(content.get(name, {}), list(kind.__annotations__), f"--config: {name}")
        return content


_TABLE_OPTIONS = (
    "file_column", "caption_column", "caption", "split_column", "group_column", "audio_dir", "delimiter", "encoding",
    "sheet",
)  # fmt: skip


@dataclass
class DataArguments:
    """The training data, its crops and its masks."""

    train_data: str | None = option(
        None,
        "Described audio: a folder with metadata.jsonl or metadata.csv (file_name, caption), a JSON file of audio_id, "
        "caption and audio_path, a folder of parquet or tar files, here or by address (s3://bucket/folder), or a Hub "
        "dataset. Default: the synthetic corpus.",
    )
    validation_data: str | None = option(
        None,
        "Validation data in the same formats. Default: the validation split of --train_data, or a fraction of it.",
    )
    validation_share: float = option(
        0.05, "Fraction of the recordings of --train_data to hold out without --validation_data."
    )
    group_column: str | None = option(
        None,
        "Column whose values must not occur in both training and validation data, such as the artist. A recording is "
        "never in both.",
    )
    train_share: float = option(
        1.0, "Fraction of the training recordings to train on; a smaller fraction is part of a larger one."
    )
    max_validation: int | None = option(2000, "Largest number of validation pairs (the first ones); none for all.")
    file_column: str | None = option(
        None, "Column of the audio files, or a template of columns such as '{folder}/{name}.wav'. Default: detected."
    )
    caption_column: str | None = option(None, "Column of the captions. Default: caption, text or description.")
    caption: str | None = option(
        None,
        "Template of captions with columns in braces, such as '{title}. {genre}, {bpm} bpm.'; empty parts are cut.",
    )
    split_column: str | None = option(None, "Column of the splits. Default: split, if it exists.")
    audio_dir: str | None = option(None, "Folder of relative audio paths. Default: the folder of the table.")
    delimiter: str | None = option(
        None, "Delimiter of the cells of a text file: a character, or tab. Default: detected."
    )
    encoding: str | None = option(None, "Encoding of a text file. Default: detected.")
    sheet: str | None = option(None, "Sheet of an XLSX file. Default: the first one with rows.")
    label_column: str = option("tags", "Column of the labels (lists or names), for objectives that use labels.")
    num_labels: int = option(50, "Number of labels to train on: the most frequent ones.")
    clip_seconds: float = option(9.0, "Length of the crop of each track, in seconds.")
    min_seconds: float = option(0.1, "Shortest track to train on, in seconds; models pad clips shorter than a chunk.")
    view_share: float = option(
        0.5, "Largest fraction of a crop in one of its two views, in whole chunks and at least one (simclr)."
    )
    crop: str = option("random", "Position of the crop of longer tracks in training.", choices=["random", "first"])
    augment: bool = option(
        False, "Augment every training chunk with random level, timbre and noise (simclr always does)."
    )
    augment_strength: float = option(
        1.0,
        "Fraction of the usual probabilities of pitch shifts, filters and noise in augmentation; at 0, only level and "
        "polarity change.",
    )
    max_text_length: int = option(64, "Largest number of tokens of a caption; longer captions are truncated.")
    mlm_probability: float = option(0.15, "Fraction of the tokens to predict.")
    mam_probability: float = option(0.15, "Fraction of the chunks to predict.")
    min_masked_chunks: float = option(1.0, "Smallest expected number of chunks to predict per clip.")
    mismatch_probability: float = option(0.5, "Fraction of the pairs that get the caption of another pair.")
    whole_words: bool = option(False, "Mask all tokens of a word together.")
    num_workers: int = option(1, "Number of processes that load audio.")
    shuffle_buffer: int = option(256, "Size of the shuffle buffer in pairs, whose audio is not yet decoded.")
    corpus_dir: str = option("outputs/corpus", "Folder of the synthetic corpus; it is generated once.")
    corpus_clips: int = option(600, "Number of training clips of the synthetic corpus.")
    corpus_seconds: float = option(
        9.0, "Length of the clips of the synthetic corpus in seconds; at least --clip_seconds."
    )

    def __post_init__(self):
        check_numbers(
            self,
            at_least_one=("max_validation", "num_labels", "max_text_length", "shuffle_buffer", "corpus_clips"),
            positive=("clip_seconds", "corpus_seconds", "train_share"),
            not_negative=("num_workers", "min_masked_chunks", "min_seconds"),
            shares=(
                "mlm_probability",
                "mam_probability",
                "mismatch_probability",
                "validation_share",
                "augment_strength",
            ),
        )

    def table_options(self) -> dict[str, str | None]:
        """Return the options for the tables of --train_data: fields of `data.described.TableOptions`."""
        return {name: getattr(self, name) for name in _TABLE_OPTIONS}


@dataclass
class TrainingArguments:
    """The training loop."""

    output_dir: str = option("outputs/pretrained", "Folder of the model; it must not exist, except to resume.")
    overwrite_output: bool = option(False, "Replace the run in --output_dir instead of resuming it.")
    max_steps: int = option(240, "Optimizer steps.", replaces="num_epochs")
    num_epochs: int | None = option(
        None, "Number of epochs, instead of --max_steps. It requires data whose number of pairs is known in advance."
    )
    batch_size: int = option(24, "Pairs per batch and process.")
    gradient_accumulation_steps: int = option(
        1, "Batches per optimizer step; contrastive losses compare within each batch only."
    )
    learning_rate: float = option(1e-3, "Highest learning rate.")
    warmup_share: float = option(0.1, "Fraction of the steps for learning rate warm-up.")
    schedule: str = option(
        "linear", "Learning rate schedule after warm-up.", choices=["linear", "cosine", "constant_with_warmup"]
    )
    weight_decay: float = option(0.01, "Weight decay of AdamW; not applied to biases and normalization layers.")
    max_grad_norm: float = option(1.0, "Largest norm of the gradients; larger gradients are clipped.")
    temperature: float = option(0.5, "Temperature of the contrastive loss between two views of a clip (simclr).")
    content_aware_weights: bool = option(
        False, "Weight pairs by the similarity of their caption to the others (muscall)."
    )
    sync_batch_norm: bool = option(True, "Compute BatchNorm statistics over the batches of all processes.")
    mixed_precision: str | None = option(
        None, "Mixed precision. Default: the configuration of accelerate.", choices=["no", "bf16", "fp16"]
    )
    cpu_threads: int | None = option(
        None,
        "CPU threads per process. Default: the cores divided by the processes (accelerate launch would use one). "
        "Resuming with another number changes results by rounding.",
    )
    log_steps: int = option(20, "Steps between two lines of metrics.jsonl.")
    eval_steps: int = option(100, "Steps between two evaluations.")
    patience: int | None = option(
        None, "Number of evaluations without improvement after which training stops. Default: no early stopping."
    )
    checkpoint_steps: int = option(100, "Steps between two checkpoints, from which an interrupted run resumes.")
    keep_checkpoints: int = option(2, "Number of checkpoints to keep, besides the best model.")
    keep_last: bool = option(False, "Save the model of the last step instead of that with the lowest validation loss.")
    trackers: str = option("tensorboard", "Trackers of accelerate, besides metrics.jsonl; or none.")
    seed: int = option(0, "Random seed.")

    def __post_init__(self):
        steps = ("max_steps", "log_steps", "eval_steps", "checkpoint_steps", "gradient_accumulation_steps")
        check_numbers(
            self,
            at_least_one=(*steps, "num_epochs", "batch_size", "patience", "keep_checkpoints", "cpu_threads"),
            positive=("max_grad_norm", "temperature"),
            not_negative=("learning_rate", "weight_decay"),
            shares=("warmup_share",),
        )


PRETRAINING = (ModelArguments, DataArguments, TrainingArguments)
