"""What the training scripts can be told; every field is a command-line flag."""

from dataclasses import dataclass, field

from ..configuration_mulap import PRESETS


def _option(default, help: str, **metadata):
    return field(default=default, metadata={"help": help, **metadata})


@dataclass
class ModelArguments:
    """Which model to train."""

    preset: str = _option("tiny", "Sizes of the model.", choices=sorted(PRESETS))
    text_model: str | None = _option(
        None, "BERT whose first layers and tokenizer the text stream takes, by Hub name or folder; none: from scratch."
    )
    num_text_layers: int = _option(6, "Layers of --text_model to take.")
    backbone: str | None = _option(
        None, "MuLaP folder whose audio backbone to start from, for instance a converted supervised MusiCNN."
    )
    freeze_text: bool = _option(False, "Leave the text stream as it is.")
    vocab_size: int = _option(1024, "Tokens of the tokenizer that is trained on the captions without --text_model.")


@dataclass
class DataArguments:
    """What to train on, and how it is heard and masked."""

    train_data: str | None = _option(
        None,
        "Described audio: a folder with metadata.jsonl or metadata.csv (file_name, caption), a JSON file of audio_id, "
        "caption and audio_path, a folder of parquet or tar files, or a Hub dataset. Without it a small corpus is "
        "made.",
    )
    validation_data: str | None = _option(
        None, "The same to validate on; none: the validation split of --train_data, or else a share of it."
    )
    validation_share: float = _option(0.05, "Share of --train_data to hold out without --validation_data.")
    caption_column: str | None = _option(None, "Column of the captions, if not caption, text or description.")
    clip_seconds: float = _option(9.0, "How much of each track is heard, in seconds.")
    crop: str = _option("random", "Which part of longer tracks is heard in training.", choices=["random", "first"])
    max_text_length: int = _option(64, "Longest caption in tokens; longer ones are cut.")
    mlm_probability: float = _option(0.15, "Share of the tokens to predict.")
    mam_probability: float = _option(0.15, "Share of the chunks to predict.")
    min_masked_chunks: float = _option(1.0, "Chunks of each clip to predict at least, in expectation.")
    mismatch_probability: float = _option(0.5, "Share of the pairs that get another pair's caption.")
    whole_words: bool = _option(False, "Mask all pieces of a word together.")
    num_workers: int = _option(1, "Processes that load audio.")
    shuffle_buffer: int = _option(256, "Pairs, undecoded, among which the next is drawn at random.")
    corpus_dir: str = _option("outputs/corpus", "Where the embedded corpus is written, once.")
    corpus_clips: int = _option(600, "Clips of the embedded corpus to train on.")


@dataclass
class TrainingArguments:
    """How to train."""

    output_dir: str = _option("outputs/pretrained", "Where the model goes; must not exist yet.")
    overwrite_output: bool = _option(False, "Replace what is in --output_dir.")
    max_steps: int = _option(240, "Optimiser steps.")
    batch_size: int = _option(24, "Pairs per batch and process.")
    learning_rate: float = _option(1e-3, "Highest learning rate.")
    warmup_share: float = _option(0.1, "Share of the steps in which the learning rate rises.")
    schedule: str = _option("linear", "How it falls afterwards.", choices=["linear", "cosine", "constant_with_warmup"])
    weight_decay: float = _option(0.01, "AdamW's weight decay; none on biases and norms.")
    max_grad_norm: float = _option(1.0, "Gradients are clipped to this norm.")
    mixed_precision: str | None = _option(None, "no, bf16 or fp16; none: as accelerate is configured.")
    cpu_threads: int | None = _option(
        None, "Threads per process on the CPU; none: the cores are shared out (accelerate launch itself leaves one)."
    )
    log_steps: int = _option(20, "Steps between two lines of metrics.jsonl.")
    seed: int = _option(0, "Of everything random.")
