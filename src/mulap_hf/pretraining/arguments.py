"""What the training scripts can be told: every field is a command-line flag, and a key of a recipe."""

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
# Options that change nothing of what is learned: a run may go on with others.
FREE_OPTIONS = ("output_dir", "overwrite_output", "log_steps", "cpu_threads", "keep_checkpoints", "trackers")


@dataclass
class ModelArguments:
    """Which model to train, and what on."""

    objective: str = option(
        "mulap", "Training objective: a file in src/mulap_hf/pretraining/objectives.", choices=list(OBJECTIVES)
    )
    preset: str = option("tiny", "Sizes of the model.", choices=PRESETS)
    text_model: str | None = option(
        None, "BERT whose first layers and tokenizer the text stream takes, by Hub name or folder; none: from scratch."
    )
    num_text_layers: int = option(6, "Layers of --text_model to take.")
    config: str | None = option(
        None, """Fields of MulapConfig that differ from the preset's, as JSON: '{"fusion": "sum"}'."""
    )
    backbone: str | None = option(
        None, "MuLaP folder whose audio backbone to start from, for instance a converted supervised MusiCNN."
    )
    freeze_text: bool = option(False, "Leave the text stream as it is.")
    vocab_size: int = option(1024, "Tokens of the tokenizer that is trained on the captions without --text_model.")
    gradient_checkpointing: bool = option(
        False, "Recompute the Transformer layers in the backward pass: less memory, more time."
    )
    compile: bool = option(False, "torch.compile the model: pays on GPUs, after minutes of compiling.")

    def config_fields(self) -> dict:
        """`config`, parsed.

        Raises:
            DataError: it is no JSON object, or has a field that MulapConfig does not have.
        """
        from ..configuration_mulap import MulapConfig

        try:
            content = json.loads(self.config or "{}")
        except ValueError as error:
            raise DataError(f"--config {self.config}: no JSON: {error}") from error
        if not isinstance(content, dict):
            raise DataError(f"--config {self.config}: not an object of fields")
        check_names(content, list(MulapConfig.__annotations__), "--config")
        for name, kind in MulapConfig.sub_configs.items():
            if not isinstance(content.get(name, {}), dict):
                raise DataError(f"--config: {name} is {content[name]!r}, not an object of fields")
            check_names(content.get(name, {}), list(kind.__annotations__), f"--config: {name}")
        return content


_TABLE_OPTIONS = (
    "file_column", "caption_column", "caption", "split_column", "group_column", "audio_dir", "delimiter", "encoding",
    "sheet",
)  # fmt: skip


@dataclass
class DataArguments:
    """What to train on, and how it is heard and masked."""

    train_data: str | None = option(
        None,
        "Described audio: a folder with metadata.jsonl or metadata.csv (file_name, caption), a JSON file of audio_id, "
        "caption and audio_path, a folder of parquet or tar files, or a Hub dataset. Without it a small corpus is "
        "made.",
    )
    validation_data: str | None = option(
        None, "The same to validate on; none: the validation split of --train_data, or else a share of it."
    )
    validation_share: float = option(
        0.05, "Fraction of the recordings of --train_data to hold out without --validation_data."
    )
    group_column: str | None = option(
        None, "Column of what must not be both trained and validated on, such as the artist; a recording never is."
    )
    train_share: float = option(
        1.0, "Fraction of the training recordings to train on; a smaller fraction is part of a larger one."
    )
    max_validation: int | None = option(2000, "Number of pairs to validate on, the first ones; none: all.")
    file_column: str | None = option(
        None, "Column of the audio files, if it has no usual name; or a text with columns, '{folder}/{name}.wav'."
    )
    caption_column: str | None = option(None, "Column of the captions, if not caption, text or description.")
    caption: str | None = option(
        None,
        "Text with columns in braces that captions are composed of, '{title}. {genre}, {bpm} bpm.'; empty parts are "
        "left out.",
    )
    split_column: str | None = option(None, "Column of the splits, if it is not named split; none: there is none.")
    audio_dir: str | None = option(None, "Folder that the names of files are relative to; none: that of the table.")
    delimiter: str | None = option(None, "Between the cells of a text file: a character, or tab; none: detected.")
    encoding: str | None = option(None, "Of a text file; none: detected.")
    sheet: str | None = option(None, "Of an XLSX file; none: the first that has rows.")
    label_column: str = option("tags", "Column of the labels, for objectives that need them: a list or a name.")
    num_labels: int = option(50, "How many of the labels, the most frequent ones, to learn.")
    clip_seconds: float = option(9.0, "How much of each track is heard, in seconds.")
    view_share: float = option(
        0.5, "Most of the heard part that one of its two views takes, in whole chunks but at least one (simclr)."
    )
    crop: str = option("random", "Which part of longer tracks is heard in training.", choices=["random", "first"])
    augment: bool = option(
        False, "Change level and tone of every chunk at random and add noise, in training (simclr always does)."
    )
    max_text_length: int = option(64, "Longest caption in tokens; longer ones are cut.")
    mlm_probability: float = option(0.15, "Share of the tokens to predict.")
    mam_probability: float = option(0.15, "Share of the chunks to predict.")
    min_masked_chunks: float = option(1.0, "Chunks of each clip to predict at least, in expectation.")
    mismatch_probability: float = option(0.5, "Share of the pairs that get another pair's caption.")
    whole_words: bool = option(False, "Mask all pieces of a word together.")
    num_workers: int = option(1, "Processes that load audio.")
    shuffle_buffer: int = option(256, "Pairs, undecoded, among which the next is drawn at random.")
    corpus_dir: str = option("outputs/corpus", "Where the synthetic corpus is written, once.")
    corpus_clips: int = option(600, "Clips of the synthetic corpus to train on.")
    corpus_seconds: float = option(9.0, "Their length, or --clip_seconds if that is longer.")

    def __post_init__(self):
        check_numbers(
            self,
            at_least_one=("max_validation", "num_labels", "max_text_length", "shuffle_buffer", "corpus_clips"),
            positive=("clip_seconds", "corpus_seconds", "train_share"),
            not_negative=("num_workers", "min_masked_chunks"),
            shares=("mlm_probability", "mam_probability", "mismatch_probability", "validation_share"),
        )

    def table_options(self) -> dict[str, str | None]:
        """How the tables of --train_data are read: fields of `data.described.TableOptions`."""
        return {name: getattr(self, name) for name in _TABLE_OPTIONS}


@dataclass
class TrainingArguments:
    """How to train."""

    output_dir: str = option("outputs/pretrained", "Where the model goes; must not exist yet.")
    overwrite_output: bool = option(False, "Replace the run in --output_dir instead of going on with it.")
    max_steps: int = option(240, "Optimizer steps.", replaces="num_epochs")
    num_epochs: int | None = option(
        None, "Passes over the training data, instead of --max_steps; its number of pairs must be known beforehand."
    )
    batch_size: int = option(24, "Pairs per batch and process.")
    gradient_accumulation_steps: int = option(
        1, "Batches per optimizer step; contrastive losses compare within each batch only."
    )
    learning_rate: float = option(1e-3, "Highest learning rate.")
    warmup_share: float = option(0.1, "Share of the steps in which the learning rate rises.")
    schedule: str = option("linear", "How it falls afterwards.", choices=["linear", "cosine", "constant_with_warmup"])
    weight_decay: float = option(0.01, "AdamW's weight decay; none on biases and norms.")
    max_grad_norm: float = option(1.0, "Gradients are clipped to this norm.")
    temperature: float = option(0.5, "Of the contrastive loss between two views of a clip (objective simclr).")
    content_aware_weights: bool = option(
        False, "Weigh pairs by how much their caption resembles the others (objective muscall)."
    )
    sync_batch_norm: bool = option(True, "BatchNorm statistics over the batches of all processes.")
    mixed_precision: str | None = option(None, "Default: as accelerate is configured.", choices=["no", "bf16", "fp16"])
    cpu_threads: int | None = option(
        None,
        "Threads per process on the CPU; none: the cores are shared out (accelerate launch itself leaves one). A run "
        "that goes on with another number gives other last bits.",
    )
    log_steps: int = option(20, "Steps between two lines of metrics.jsonl.")
    eval_steps: int = option(100, "Steps between two evaluations.")
    patience: int | None = option(None, "Stop after so many evaluations without a better one; none: never.")
    checkpoint_steps: int = option(100, "Steps between two checkpoints, from which an interrupted run goes on.")
    keep_checkpoints: int = option(2, "How many of them to keep; the model that will be saved is kept besides.")
    keep_last: bool = option(
        False, "Save the model of the last evaluation, at the last step, not that of the lowest validation loss."
    )
    trackers: str = option("tensorboard", "Where metrics go besides metrics.jsonl: accelerate's trackers, or none.")
    seed: int = option(0, "Of everything random.")

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
