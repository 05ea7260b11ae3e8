"""A model of audio and text, and music that it embeds, for the tests of search."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from helpers import micro_config, save_both, settle

from mulap_hf import MulapModel
from mulap_hf.embedding import Embedder
from mulap_hf.embedding_files import write_embeddings

GENRES = ["jazz", "rock", "jazz", "folk", "rock", "jazz"]


@dataclass(frozen=True)
class Catalog:
    """A folder with `model`, `music/0.flac` to `music/5.flac`, `music.parquet`, `tracks.csv` and `index`."""

    folder: Path
    model: MulapModel
    vectors: np.ndarray

    @property
    def index(self) -> Path:
        return self.folder / "index"

    def track(self, number: int) -> str:
        return str(self.folder / "music" / f"{number}.flac")


def save_model(folder: Path, processor, seed: int = 0) -> MulapModel:
    model = settle(MulapModel(micro_config(projection_size=16)), seed)
    model.matching_head.weight.data *= 300  # scores that are not all alike
    save_both(model, processor, folder)
    return model


def embed(model: Path, files: list[Path], output: Path) -> Path:
    assert not write_embeddings(Embedder(model, joint=True), files, output, progress=False).failed
    return output
