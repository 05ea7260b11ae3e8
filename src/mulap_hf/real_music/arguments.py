"""Options of training/real_music.py: every field is a command-line flag."""

from dataclasses import dataclass

from ..arguments import check_numbers, option
from ..errors import DataError

POOLINGS = ("mean", "mean+max", "mean+max+deviation")
HALVES = ("dev", "test", "all")


@dataclass
class RealMusicArguments:
    """The models, the recordings, and the settings of the benchmark."""

    models: list[str] = option(
        [],
        "MuLaP folders or Hub names; timbre:DIR, the features of DIR without those of pitch; random:DIR, the "
        "architecture of DIR with random weights; or handcrafted, for statistics of MFCC, chroma and onsets. "
        "NAME=MODEL sets the name in the tables; models with the same NAME are seeds of one, and their scores are "
        "averaged.",
    )
    data: str = option(
        "real_music",
        "Folder with notes/CLASS/ (single notes) and soundtracks/CLASS/ (whole tracks), or one of the two.",
    )
    output: str = option("outputs/real_music", "Folder of the results, the report and its pictures.")
    page: str | None = option(
        None, "Path of a copy of the report, such as model_cards/results/real_music.md; its pictures lie beside it."
    )
    cache_dir: str = option("outputs/features", "Folder of the cached features of the models; all runs share it.")
    tagger: str | None = option(
        None, "Folder or Hub name of a classifier whose tags of real tracks and calibration are reported."
    )
    tagger_task: str = option("tagging", "Task of the synthetic corpus that --tagger was trained on.")
    corpus_dir: str = option("outputs/tasks", "Folder of the synthetic corpus for --tagger; it is generated once.")
    corpus_clips: int = option(1200, "Number of its training clips; validation has a quarter, test half as many.")
    half: str = option(
        "dev",
        "Half of the recordings, by a hash of their names: dev to choose a model, test to report it, or all.",
        choices=list(HALVES),
    )
    reference: list[str] = option(
        [], "Models that all others are compared with, by their names in the tables. Default: the last of --models."
    )
    poolings: list[str] = option(
        list(POOLINGS),
        "How the chunk features of an excerpt become one vector. The first is used in the main tables and pictures.",
        choices=list(POOLINGS),
    )
    notes_per_class: int = option(240, "Largest number of notes per class, half of them in each half.")
    labels_per_class: list[int] = option([5, 20, 100], "Numbers of labels per class for label efficiency.")
    draws: int = option(5, "Random choices of the labels that the scores with few labels are averaged over.")
    resamples: int = option(1000, "Bootstrap resamples of the recordings, for the intervals.")
    seed: int = option(0, "Random seed of folds, labels, intervals and random weights.")
    device: str | None = option(None, "Device of the computation. Default: a GPU if one is available, else the CPU.")

    def __post_init__(self):
        check_numbers(self, ("notes_per_class", "labels_per_class", "draws", "resamples", "corpus_clips"))
        if not self.models:
            raise DataError("--models is missing; pass MuLaP folders, random:DIR or handcrafted")
