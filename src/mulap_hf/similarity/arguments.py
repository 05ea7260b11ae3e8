"""Options of `training/similarity.py`: every field is a command-line flag."""

from dataclasses import dataclass

from ..arguments import check_numbers, option
from ..errors import MulapError


@dataclass
class SimilarityArguments:
    """The backbone, the pieces of music, and the training of the heads."""

    model: str = option("outputs/pretrained", "Folder or Hub name of a MuLaP model, whose backbone stays as it is.")
    output_dir: str = option("outputs/similarity", "Folder of the model; it must not exist, except to resume.")
    overwrite_output: bool = option(False, "Replace the run in --output_dir.")
    data: str | None = option(
        None,
        "Folder with the folders train, validation and test (or test_*), each with audio and a metadata.jsonl whose "
        "lines have file_name, melody, rhythm and timbre: equal values share the factor. Default: synthetic pieces.",
    )
    test_data: list[str] = option(
        [],
        "Further folders of test pieces, each with audio and such a metadata.jsonl, where a factor may be unknown.",
    )
    corpus_dir: str = option("outputs/similarity_corpus", "Folder of the synthetic pieces; they are made once.")
    num_grids: int = option(
        2500, "Synthetic grids to train on: eight pieces each, all combinations of two melodies, rhythms and timbres."
    )
    clip_seconds: float = option(9.0, "Length of a synthetic piece in seconds.")
    held_out_soundfont: str | None = option(
        None, "SF2 file that plays an additional test split, test_soundfont; requires tinysoundfont."
    )
    recordings: str | None = option(
        None, "Folder of recordings: the report lists the nearest neighbors of some of them by each factor."
    )
    cache_dir: str = option("outputs/features", "Folder of the cached features of the backbone; all runs share it.")
    device: str | None = option(None, "Device of the backbone. Default: a GPU if one is available, else the CPU.")
    steps: int = option(2000, "Optimizer steps.")
    batch_size: int = option(256, "Pieces per batch.")
    learning_rate: float = option(1e-3, "Highest learning rate.")
    weight_decay: float = option(0.01, "Weight decay of AdamW.")
    noise: float = option(0.5, "Standard deviation of the noise that is added to the scaled input in training.")
    hidden_size: int = option(512, "Hidden units of a head.")
    dropout: float = option(0.5, "Dropout rate of the hidden units.")
    embedding_size: int = option(128, "Size of the embedding of a factor.")
    margin: float = option(0.25, "Margin of the Circle loss.")
    scale: float = option(32.0, "Scale of the Circle loss.")
    eval_steps: int = option(200, "Steps between two evaluations; the best heads on the validation pieces are kept.")
    resamples: int = option(1000, "Bootstrap resamples of the test pieces, for the intervals.")
    seed: int = option(0, "Random seed.")

    def __post_init__(self):
        whole = ["num_grids", "steps", "batch_size", "hidden_size", "embedding_size", "eval_steps", "resamples"]
        check_numbers(self, whole, ["clip_seconds", "learning_rate", "scale"])
        if self.data is not None and self.held_out_soundfont is not None:
            raise MulapError("--held_out_soundfont applies to the synthetic pieces only; drop it or --data")
