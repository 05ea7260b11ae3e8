"""A catalog that the tests of search share."""

import numpy as np
import pytest
from catalogs import GENRES, Catalog, embed, save_model
from helpers import write_tone

from mulap_hf.embedding import Embedder
from mulap_hf.search.update import create_index


@pytest.fixture(scope="session")
def catalog(processor, tmp_path_factory) -> Catalog:
    folder = tmp_path_factory.mktemp("catalog")
    model = save_model(folder / "model", processor)
    files = [folder / "music" / f"{number}.flac" for number in range(len(GENRES))]
    for number, file in enumerate(files):
        write_tone(file, seconds=2, seed=number)
    embed(folder / "model", files, folder / "music.parquet")
    rows = [f"music/{number}.flac,{genre},{1980 + 5 * number}\n" for number, genre in enumerate(GENRES)]
    (folder / "tracks.csv").write_text("path,genre,year\n" + "".join(rows[:5]) + "music/other.flac,folk,1999\n")
    notes = create_index(folder / "music.parquet", folder / "index", folder / "tracks.csv")
    assert notes[0] == f"{folder / 'tracks.csv'}: metadata of 5 of 6 tracks; 1 of its rows are of no track"
    embedder = Embedder(folder / "model")
    return Catalog(folder, model, np.stack([embedder.embed(file).track for file in files]))
