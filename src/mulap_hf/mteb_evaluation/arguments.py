"""Options of training/mteb_eval.py."""

from dataclasses import dataclass
from pathlib import Path

from ..arguments import check_numbers, option
from ..errors import DataError

MUSIC = "music"
CAPTIONS = "captions"


@dataclass
class MtebArguments:
    """The model, the tasks, and where the scores go."""

    model: str = option("outputs/pretrained", "Folder or Hub name of a MuLaP model.")
    tasks: list[str] = option(
        [],
        "Names of MTEB tasks, for example GTZANGenre SongDescriberT2ARetrieval; music for all tasks about music that "
        f"the model can do. With --data, tasks of that folder: names in its tasks.json, and {CAPTIONS} for retrieval "
        "by descriptions. Default: all of them.",
    )
    data: str | None = option(
        None, "Folder made by training/prepare_dataset.py, whose tasks are evaluated as MTEB does it."
    )
    output_dir: str | None = option(
        None,
        "Folder of the results of this model. Default: mteb/ in the folder of the model, or outputs/mteb/ORG--NAME.",
    )
    batch_size: int = option(16, "Number of recordings or texts that are encoded together.")
    device: str | None = option(None, "Device of the computation. Default: a GPU if one is available, else the CPU.")
    push_to_hub: bool = option(False, "Write the scores into the model card on the Hub; --model is its name there.")

    def __post_init__(self):
        check_numbers(self, ["batch_size"])
        if self.push_to_hub and Path(self.model).is_dir():
            raise DataError(
                f"--push_to_hub writes to a model on the Hub, but --model {self.model} is a folder: publish it with "
                "training/publish.py, which includes the scores"
            )
        if self.data is not None and MUSIC in self.tasks:
            raise DataError(f"--tasks {MUSIC} selects MTEB's own tasks: drop it, or --data")

    @property
    def folder(self) -> Path:
        """The folder of the results."""
        hub = Path("outputs/mteb", self.model.replace("/", "--"))
        inside = Path(self.model) / "mteb" if Path(self.model).is_dir() else hub
        return Path(self.output_dir) if self.output_dir else inside
