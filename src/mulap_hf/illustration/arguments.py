"""Options of training/illustrate.py: every field is a command-line flag."""

from dataclasses import dataclass

from ..arguments import check_numbers, option
from ..transfer.arguments import TaskDataArguments

PARTS = ("retrieval", "tags", "map", "attention")


@dataclass
class IllustrationArguments(TaskDataArguments):
    """The models, the data, and the settings of the pictures."""

    model: str = option("outputs/pretrained", "Folder or Hub name of the MuLaP model.")
    tagger: str | None = option(
        None,
        "Folder or Hub name of the classifier for the part `tags`, made by transfer.py. Default: --model, if it is a "
        "classifier.",
    )
    compare: str | None = option(
        None, "Folder or Hub name of a second model for the part `map`, for example one with random weights."
    )
    split: str | None = option(None, "Split of the data. Default: its first test split.")
    output_dir: str = option("outputs/illustrations", "Folder for the pictures, the page and the numbers.")
    overwrite_output: bool = option(False, "Overwrite existing pictures in --output_dir.")
    parts: list[str] = option(
        list(PARTS),
        "Parts to draw. A part that the model or the data does not support is skipped; the page gives the reason.",
        choices=list(PARTS),
    )
    recordings: int = option(
        500,
        "Largest number of recordings for retrieval and the map, evenly spaced in the split. The time for the map "
        "grows with its square.",
    )
    queries: int = option(5, "Number of randomly chosen descriptions whose retrieval results are drawn.")
    top_k: int = option(32, "Number of contrastive results per query that the matching scores re-rank.")
    track: str | None = option(
        None, "Audio file for the part `tags`. Default: a track of concatenated clips of the split."
    )
    track_seconds: float = option(60.0, "Length of the track of concatenated clips, in seconds.")
    section_seconds: float = option(10.0, "Longest excerpt of each concatenated clip, in seconds.")
    hop_seconds: float = option(
        1.0, "Time between the starts of consecutive chunks, in seconds; chunks overlap if they are longer."
    )
    num_tags: int = option(6, "Number of labels to draw: those with the highest probability anywhere in the track.")
    neighbors: int = option(10, "Number of nearest neighbors for the agreement of neighbors in the map.")
    example: str | None = option(None, "Id of the clip whose co-attention is drawn. Default: chosen at random.")
    seed: int = option(0, "Random seed of all choices.")

    def __post_init__(self):
        super().__post_init__()
        counts = ("recordings", "queries", "top_k", "num_tags", "neighbors")
        check_numbers(self, counts, ("track_seconds", "section_seconds", "hop_seconds"))
