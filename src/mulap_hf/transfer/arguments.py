"""Options of the transfer scripts: every field is a command-line flag and a key of a recipe."""

import json
from dataclasses import dataclass
from typing import Any

from ..arguments import check_numbers, option
from ..data.automatic import prepare_labeled
from ..errors import DataError
from .degradations import DEGRADATIONS
from .tasks import SYNTHETIC_NAMES, PreparedData, TaskData, open_described, open_synthetic_task, open_task

_HELD_OUT_SOUNDFONT = (
    "SF2 file for an additional test split of the synthetic corpus, test_soundfont, played by its instruments; "
    "requires tinysoundfont."
)


@dataclass
class TaskDataArguments:
    """The dataset, and where features are computed and cached."""

    data: str | None = option(
        None,
        "Folder made by training/prepare_dataset.py, or labeled audio as it is: a folder of class folders, or a table "
        "with labels (see prepare_dataset.py labeled --help). Default: the synthetic corpus.",
    )
    corpus_dir: str = option("outputs/tasks", "Folder of what is prepared once: the synthetic corpus, and --data.")
    corpus_clips: int = option(
        1200,
        "Number of training clips (or notes) of the synthetic corpus; a test split has half as many, the validation "
        "split a quarter.",
    )
    clip_seconds: float = option(9.0, "Length of the clips of the synthetic corpus in seconds.")
    held_out_soundfont: str | None = option(None, _HELD_OUT_SOUNDFONT)
    cache_dir: str = option("outputs/features", "Folder of the cached features of the backbone; all runs share it.")
    device: str | None = option(None, "Device of the computation. Default: a GPU if one is available, else the CPU.")

    def __post_init__(self):
        if self.data is not None and self.held_out_soundfont is not None:
            raise DataError("--held_out_soundfont applies to the synthetic corpus only; drop it or --data")
        check_numbers(self, ["corpus_clips"], ["clip_seconds"])

    def open_task(self, name: str | None = None) -> TaskData:
        """Open a task of the dataset, or of the synthetic corpus if `data` is None.

        Args:
            name: Name of the task; None for the only task of the dataset, or tagging of the synthetic corpus.

        Raises:
            DataError: The dataset or the task does not exist, or the synthetic corpus cannot be generated.
        """
        if self.data is not None:
            return open_task(prepare_labeled(self.data, self.corpus_dir), name)
        how = (self.corpus_dir, self.corpus_clips, self.clip_seconds, True, self.held_out_soundfont)
        return open_synthetic_task(name or "tagging", *how)

    def open_described(self) -> PreparedData:
        """Open the dataset without its labels; raises as `open_task` does."""
        return self.open_task() if self.data is None else open_described(self.data)


@dataclass
class TransferArguments(TaskDataArguments):
    """The backbone, the task, and the labels to train on."""

    model: str = option(
        "outputs/pretrained",
        "Folder or Hub name of the MuLaP model whose backbone is transferred; or handcrafted, for statistics of MFCC, "
        "chroma and onsets.",
    )
    task: str | None = option(
        None,
        f"Task of --data; without --data, a task of the synthetic corpus ({', '.join(SYNTHETIC_NAMES)}). Default: the "
        "only task of --data, or tagging.",
    )
    labels_per_class: int | None = option(
        None,
        "Train on this number of tracks per class (at least this number per tag; ten times this number of tracks for "
        "regression). The validation split stays complete. Default: all tracks.",
    )
    fine_tune: bool = option(False, "Train the backbone as well, instead of a head on its frozen features.")
    resamples: int = option(1000, "Bootstrap resamples of the test tracks, for the intervals.")

    def __post_init__(self):
        super().__post_init__()
        check_numbers(self, ["labels_per_class", "resamples"])


@dataclass
class RunArguments:
    """Options of a run on frozen features; fine-tuning uses those of pretrain.py."""

    output_dir: str = option("outputs/transferred", "Folder of the classifier; it must not exist.")
    overwrite_output: bool = option(False, "Overwrite the content of --output_dir.")
    seed: int = option(0, "Random seed.")


@dataclass
class ProbeArguments:
    """The head on frozen features, and its training."""

    head: str = option("mlp", "mlp: one hidden layer; linear: none.", choices=["mlp", "linear"])
    hidden_size: int = option(512, "Units of the hidden layer.")
    dropout: float = option(0.0, "Dropout probability of the hidden layer.")
    standardize: bool = option(
        True, "Standardize features, and targets of a regression, by their statistics on the training tracks."
    )
    calibrate: bool = option(
        False,
        "Divide the logits of the trained head by a temperature that is fitted on the validation split, so that "
        "probabilities are closer to frequencies. It becomes part of the weights; the order of the scores stays.",
    )
    learning_rate: float = option(
        1e-3, "Initial learning rate of Adam; halved when the validation metric stops improving."
    )
    weight_decay: float = option(1e-3, "Weight decay of Adam.")
    batch_size: int = option(64, "Tracks per step.")
    max_epochs: int = option(200, "Largest number of epochs.")
    patience: int = option(50, "Number of epochs without a better validation metric after which training stops.")
    plateau_patience: int = option(
        10, "Number of epochs without a better validation metric after which the learning rate is halved."
    )

    def __post_init__(self):
        check_numbers(self, ["hidden_size", "batch_size", "max_epochs", "patience", "plateau_patience"])


@dataclass
class FineTuneArguments:
    """Fine-tuning of backbone and head, in addition to the options of pretrain.py."""

    head: str = option("mlp", "mlp: one hidden layer; linear: none.", choices=["mlp", "linear"])
    hidden_size: int = option(512, "Units of the hidden layer.")
    dropout: float = option(0.0, "Dropout probability of the hidden layer.")
    train_seconds: float = option(9.0, "Length of the random crop of a track in training, in seconds.")
    validation_seconds: float = option(30.0, "Length of the start of a track used for validation, in seconds.")
    num_workers: int = option(1, "Number of processes that load audio.")

    def __post_init__(self):
        check_numbers(self, ["hidden_size"], ["train_seconds", "validation_seconds"])


@dataclass
class ZeroShotArguments(TaskDataArguments):
    """The model, the tasks, and the prompts of a zero-shot evaluation."""

    model: str = option("outputs/pretrained", "Folder or Hub name of a MuLaP model with a text stream.")
    task: list[str] = option(
        [],
        "Tasks of --data, or of the synthetic corpus (tagging, style, key, instrument). Default: all tasks with "
        "classes or tags; no task with --retrieval.",
    )
    retrieval: bool = option(
        False, "Retrieve recordings by descriptions, and descriptions by recordings, in the test splits."
    )
    output_dir: str = option("outputs/zero_shot", "Folder of the results.")
    overwrite_output: bool = option(False, "Overwrite existing results.")
    scores: list[str] = option(
        [],
        "Kinds of scores: contrastive (requires a joint embedding space) and matching (requires co-attention). "
        "Default: all kinds of the model.",
        choices=["contrastive", "matching"],
    )
    templates: list[str] = option(
        [], "Prompts with {label}; scores are averaged over them. Default: four templates for tags, four for classes."
    )
    top_k: int = option(32, "Number of contrastive results per query that the matching scores re-rank.")
    recordings: int | None = option(None, "Largest number of recordings per test split for retrieval. Default: all.")
    resamples: int = option(1000, "Bootstrap resamples of the test clips or queries, for the intervals.")
    seed: int = option(0, "Random seed of the bootstrap and of chance.")

    def __post_init__(self):
        super().__post_init__()
        check_numbers(self, ["top_k", "recordings", "resamples"])


@dataclass
class CompareArguments:
    """The strategies, tasks and settings of a comparison."""

    output_dir: str = option("outputs/comparison", "Folder of all results; existing results are not computed again.")
    strategies: list[str] = option(
        [],
        "Strategies to compare: names in training/recipes/compare/strategies.json, MuLaP folders or Hub names, or "
        "handcrafted.",
    )
    reference: list[str] = option(["mulap"], "Strategies that all others are compared with.")
    seeds: list[int] = option([0], "Random seeds; each repeats everything, pre-training included.")
    tasks: list[str] = option(
        list(SYNTHETIC_NAMES),
        "Tasks of the synthetic corpus, and folders made by training/prepare_dataset.py: DIR, or DIR:TASK.",
    )
    labels_per_class: list[int] = option(
        [10, 30, 100], "Numbers of labels per class for label efficiency; see transfer.py."
    )
    shares: list[float] = option(
        [0.0625, 0.25], "Fractions of the corpus for data efficiency, pre-trained with the same number of steps."
    )
    share_strategies: list[str] = option([], "Strategies whose data efficiency is measured.")
    conditions: list[str] = option(
        list(DEGRADATIONS),
        "Degradations of the test audio for robustness, with the first seed; none to skip robustness.",
        choices=[*DEGRADATIONS, "none"],
    )
    train_data: str | None = option(None, "Described audio for pre-training. Default: the synthetic corpus.")
    corpus_dir: str = option("outputs/comparison_corpus", "Folder of the synthetic corpus for pre-training.")
    pretrain_clips: int = option(4800, "Number of clips of the synthetic corpus for pre-training.")
    task_clips: int = option(1200, "Number of training clips (and notes) of the synthetic corpus for the tasks.")
    task_dir: str = option("outputs/tasks", "Folder of the synthetic corpus for the tasks; it is generated once.")
    clip_seconds: float = option(9.0, "Length of all clips of the synthetic corpus in seconds.")
    held_out_soundfont: str | None = option(None, _HELD_OUT_SOUNDFONT)
    pretrain_steps: int = option(500, "Optimizer steps of every strategy.")
    pretrain_batch_size: int = option(48, "Clips per step.")
    pretrain_seconds: float = option(6.0, "Length of the random crop of a clip in pre-training, in seconds.")
    pretrain_options: str | None = option(
        None, """More options of pretrain.py for every strategy, as JSON, for example '{"preset": "small"}'."""
    )
    cache_dir: str = option("outputs/features", "Folder of the cached features.")
    resamples: int = option(1000, "Bootstrap resamples of the test tracks.")
    jobs: int | None = option(
        None, "Number of models that are trained at the same time. Default: one per core, or one on a GPU."
    )

    def __post_init__(self):
        counts = ("pretrain_clips", "task_clips", "pretrain_steps", "pretrain_batch_size", "resamples", "jobs")
        check_numbers(self, ("labels_per_class", *counts), ("clip_seconds", "pretrain_seconds"))

    def more_options(self) -> dict[str, Any]:
        """Return `pretrain_options` as a dictionary.

        Raises:
            DataError: The text is not a JSON object.
        """
        try:
            content = json.loads(self.pretrain_options or "{}")
        except ValueError as error:
            raise DataError(f"--pretrain_options {self.pretrain_options}: not JSON ({error})") from error
        if not isinstance(content, dict):
            raise DataError(
                f"--pretrain_options {self.pretrain_options}: not a JSON object; write for example "
                """'{"preset": "small"}'"""
            )
        return content
