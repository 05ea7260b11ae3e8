"""What training/illustrate.py can be told: every field is a command-line flag."""

from dataclasses import dataclass

from ..pretraining.arguments import check_numbers, option
from ..transfer.arguments import TaskDataArguments

PARTS = ("retrieval", "tags", "map", "attention")


@dataclass
class IllustrationArguments(TaskDataArguments):
    """Which pictures are drawn of which models."""

    model: str = option("outputs/pretrained", "MuLaP folder or Hub name.")
    tagger: str | None = option(
        None,
        "Classifier (a folder of transfer.py, or a Hub name) for the curves over a track; none: --model if it is one.",
    )
    compare: str | None = option(
        None, "MuLaP folder or Hub name whose map stands beside that of --model, for instance a random one."
    )
    split: str | None = option(None, "Of the data; none: the first of its test splits.")
    output_dir: str = option("outputs/illustrations", "Where pictures, page and numbers go.")
    overwrite_output: bool = option(False, "Replace those that are there.")
    parts: list[str] = option(
        list(PARTS), "What is drawn; what a model or the data cannot give is left out.", choices=list(PARTS)
    )
    recordings: int = option(
        500,
        "Most recordings of the split to retrieve among, and on the map, whose time grows with their square; evenly "
        "spaced.",
    )
    queries: int = option(5, "Descriptions whose results are shown, chosen by --seed.")
    top_k: int = option(32, "How many of a query's contrastive results are re-ranked by their matching scores.")
    track: str | None = option(
        None, "Audio file for the curves over a track; none: clips of the split, one after another."
    )
    track_seconds: float = option(60.0, "Length of that track of clips.")
    section_seconds: float = option(10.0, "Most that is taken of each of its clips.")
    hop_seconds: float = option(1.0, "From one chunk to the next, which overlap if that is less than their length.")
    num_tags: int = option(6, "Labels whose curves are drawn: the likeliest anywhere in the track.")
    neighbors: int = option(10, "Nearest clips that tell how good a neighborhood is.")
    example: str | None = option(None, "Id of the clip whose co-attention is drawn; none: chosen by --seed.")
    seed: int = option(0, "Of what is chosen at random.")

    def __post_init__(self):
        super().__post_init__()
        counts = ("recordings", "queries", "top_k", "num_tags", "neighbors")
        check_numbers(self, counts, ("track_seconds", "section_seconds", "hop_seconds"))
