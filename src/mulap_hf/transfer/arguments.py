"""What the scripts of transfer can be told: every field is a command-line flag, and a key of a recipe."""

import json
from dataclasses import dataclass
from typing import Any

from ..errors import DataError
from ..pretraining.arguments import check_numbers, option
from .degradations import DEGRADATIONS
from .tasks import SYNTHETIC_NAMES, PreparedData, TaskData, open_described, open_synthetic_task, open_task

_HELD_OUT_SOUNDFONT = (
    "SF2 file whose instruments play one more test split of the synthetic corpus, test_soundfont, which is added to "
    "what is there; needs tinysoundfont."
)


@dataclass
class TaskDataArguments:
    """Recordings and what is known of them."""

    data: str | None = option(None, "Folder made by training/prepare_dataset.py; none: the synthetic corpus.")
    corpus_dir: str = option("outputs/tasks", "Where the synthetic corpus is written, once.")
    corpus_clips: int = option(
        1200, "Its clips (or notes) to learn from; half as many are in each test split, a quarter to validate on."
    )
    clip_seconds: float = option(9.0, "Their length in seconds.")
    held_out_soundfont: str | None = option(None, _HELD_OUT_SOUNDFONT)
    cache_dir: str = option("outputs/features", "Where what the backbone hears is kept, for every later run.")
    device: str | None = option(None, "Where to compute; none: the GPU if there is one.")

    def __post_init__(self):
        if self.data is not None and self.held_out_soundfont is not None:
            raise DataError("--held_out_soundfont plays the synthetic corpus: leave it out, or --data")
        check_numbers(self, ["corpus_clips"], ["clip_seconds"])

    def open_task(self, name: str | None = None) -> TaskData:
        """A task: of the data, where it may be the only one, or of the synthetic corpus, by default tagging.

        Raises:
            DataError: there is no such data or task, or the synthetic corpus cannot be made.
        """
        if self.data is not None:
            return open_task(self.data, name)
        how = (self.corpus_dir, self.corpus_clips, self.clip_seconds, True, self.held_out_soundfont)
        return open_synthetic_task(name or "tagging", *how)

    def open_described(self) -> PreparedData:
        """What needs no labels; raises as `open_task` does."""
        return self.open_task() if self.data is None else open_described(self.data)


@dataclass
class TransferArguments(TaskDataArguments):
    """What is transferred to which task."""

    model: str = option(
        "outputs/pretrained",
        "MuLaP folder or Hub name whose backbone is transferred; or handcrafted: statistics of MFCC, chroma and "
        "onsets.",
    )
    task: str | None = option(
        None,
        f"What to learn: a task of --data; without --data one of the synthetic corpus ({', '.join(SYNTHETIC_NAMES)}).",
    )
    labels_per_class: int | None = option(
        None,
        "Learn from so few tracks per class (with each tag at least so many, if there are; for regression ten times "
        "as many tracks); all are validated on.",
    )
    fine_tune: bool = option(False, "Train the backbone as well, instead of a head on its frozen features.")
    resamples: int = option(1000, "Bootstrap resamples of the test tracks, for the intervals.")

    def __post_init__(self):
        super().__post_init__()
        check_numbers(self, ["labels_per_class", "resamples"])


@dataclass
class RunArguments:
    """Of a run on frozen features; fine-tuning has those of pretrain.py."""

    output_dir: str = option("outputs/transferred", "Where the classifier goes; must not exist yet.")
    overwrite_output: bool = option(False, "Replace what is in --output_dir.")
    seed: int = option(0, "Of everything random.")


@dataclass
class ProbeArguments:
    """How a head learns from frozen features."""

    head: str = option("mlp", "mlp: one hidden layer; linear: none.", choices=["mlp", "linear"])
    hidden_size: int = option(512, "Units of the hidden layer.")
    dropout: float = option(0.0, "Of the hidden layer.")
    standardize: bool = option(
        True, "Scale features, and values to regress, by their deviation over the training tracks."
    )
    learning_rate: float = option(1e-3, "Adam's first; halved on plateaus of the validation metric.")
    weight_decay: float = option(1e-3, "Adam's.")
    batch_size: int = option(64, "Tracks per step.")
    max_epochs: int = option(200, "Most passes over the training tracks.")
    patience: int = option(50, "Stop after so many epochs without a better validation metric.")
    plateau_patience: int = option(10, "Halve the learning rate after so many.")

    def __post_init__(self):
        check_numbers(self, ["hidden_size", "batch_size", "max_epochs", "patience", "plateau_patience"])


@dataclass
class FineTuneArguments:
    """How backbone and head learn together, besides what pretrain.py can be told."""

    head: str = option("mlp", "mlp: one hidden layer; linear: none.", choices=["mlp", "linear"])
    hidden_size: int = option(512, "Units of the hidden layer.")
    dropout: float = option(0.0, "Of the hidden layer.")
    train_seconds: float = option(9.0, "How much of a track, at random, is heard at a time.")
    validation_seconds: float = option(30.0, "How much of its start is heard to choose the best step by.")
    num_workers: int = option(1, "Processes that load audio.")

    def __post_init__(self):
        check_numbers(self, ["hidden_size"], ["train_seconds", "validation_seconds"])


@dataclass
class ZeroShotArguments(TaskDataArguments):
    """What is told by prompts, or retrieved, with which model."""

    model: str = option("outputs/pretrained", "MuLaP folder or Hub name, with its text side.")
    task: list[str] = option(
        [],
        "Tasks of --data, or of the synthetic corpus (tagging, style, key, instrument); none: all that have classes, "
        "or with --retrieval no task.",
    )
    retrieval: bool = option(
        False, "Find recordings by their descriptions and descriptions by their recordings, in the test splits."
    )
    output_dir: str = option("outputs/zero_shot", "Where the results go.")
    overwrite_output: bool = option(False, "Replace results that are there.")
    scores: list[str] = option(
        [],
        "contrastive (needs a shared space), matching (needs co-attention); none: all that the model has.",
        choices=["contrastive", "matching"],
    )
    templates: list[str] = option(
        [], "Prompts with {label} in them, over which scores are averaged; none: four for tags, four for classes."
    )
    top_k: int = option(32, "How many of a query's contrastive results are re-ranked by their matching scores.")
    recordings: int | None = option(None, "Retrieve among at most so many recordings of each test split; none: all.")
    resamples: int = option(1000, "Bootstrap resamples of the test clips or queries, for the intervals.")
    seed: int = option(0, "Of the bootstrap and of chance.")

    def __post_init__(self):
        super().__post_init__()
        check_numbers(self, ["top_k", "recordings", "resamples"])


@dataclass
class CompareArguments:
    """What is compared on what."""

    output_dir: str = option("outputs/comparison", "Where everything goes; what is there is not made again.")
    strategies: list[str] = option(
        [],
        "What is compared: names in training/recipes/compare/strategies.json, MuLaP folders or Hub names, or "
        "handcrafted.",
    )
    reference: list[str] = option(["mulap"], "The strategies that differences are to.")
    seeds: list[int] = option([0], "Each repeats everything, pre-training included.")
    tasks: list[str] = option(
        list(SYNTHETIC_NAMES),
        "Tasks of the synthetic corpus, and folders made by training/prepare_dataset.py: DIR, or DIR:TASK.",
    )
    labels_per_class: list[int] = option([10, 30, 100], "Also learn from so few; see transfer.py.")
    shares: list[float] = option([0.0625, 0.25], "Also pre-train on such shares of the corpus, for as many steps.")
    share_strategies: list[str] = option([], "Which strategies do that.")
    conditions: list[str] = option(
        list(DEGRADATIONS),
        "How the test audio is degraded, for the robustness of the first seed; none of it with: none.",
        choices=[*DEGRADATIONS, "none"],
    )
    train_data: str | None = option(None, "Described audio to pre-train on; none: the synthetic corpus.")
    corpus_dir: str = option("outputs/comparison_corpus", "Where the synthetic corpus is written for pre-training.")
    pretrain_clips: int = option(4800, "Its clips.")
    task_clips: int = option(1200, "Clips (and notes) of the synthetic corpus to learn the tasks from.")
    task_dir: str = option("outputs/tasks", "Where those are written, once.")
    clip_seconds: float = option(9.0, "Length of all these clips.")
    held_out_soundfont: str | None = option(None, _HELD_OUT_SOUNDFONT)
    pretrain_steps: int = option(500, "Optimizer steps of every strategy.")
    pretrain_batch_size: int = option(48, "Clips per step.")
    pretrain_seconds: float = option(6.0, "How much of each is heard: a random part.")
    pretrain_options: str | None = option(
        None, """More options of pretrain.py for every strategy, as JSON: '{"preset": "small"}'."""
    )
    cache_dir: str = option("outputs/features", "Where frozen features are kept.")
    resamples: int = option(1000, "Bootstrap resamples of the test tracks.")
    jobs: int | None = option(None, "Models that are made at the same time; none: one per core, or one on a GPU.")

    def __post_init__(self):
        counts = ("pretrain_clips", "task_clips", "pretrain_steps", "pretrain_batch_size", "resamples", "jobs")
        check_numbers(self, ("labels_per_class", *counts), ("clip_seconds", "pretrain_seconds"))

    def more_options(self) -> dict[str, Any]:
        """`pretrain_options`, parsed.

        Raises:
            DataError: it is no JSON object.
        """
        try:
            content = json.loads(self.pretrain_options or "{}")
        except ValueError as error:
            raise DataError(f"--pretrain_options {self.pretrain_options}: no JSON: {error}") from error
        if not isinstance(content, dict):
            raise DataError(f"--pretrain_options {self.pretrain_options}: not an object of options")
        return content
