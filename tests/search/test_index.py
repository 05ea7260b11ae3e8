"""An index as its users have it: what it finds, how it changes, and what it refuses."""

import json
import os
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from catalogs import GENRES, embed, save_model
from filelock import FileLock
from helpers import write_tone

from mulap_hf.errors import DataError
from mulap_hf.search import update, vectors
from mulap_hf.search.index import SearchIndex
from mulap_hf.search.update import add_tracks, create_index, remove_tracks


def write_table(path, tracks: int, size: int = 12, names: tuple[str, ...] = ("embedding",), seed: int = 0):
    """Random embeddings as `mulap embed` writes them."""
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(40, size))
    columns = {"path": [f"{number}.wav" for number in range(tracks)], "seconds": np.full(tracks, 60.0)}
    for name in names:
        values = centers[rng.integers(40, size=tracks)] + 0.5 * rng.normal(size=(tracks, size))
        columns[name] = pa.FixedSizeListArray.from_arrays(values.astype(np.float32).ravel(), size)
    about = {"model": "org/model", "fingerprints": dict.fromkeys(names, "0123")}
    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.table(columns).replace_schema_metadata({"mulap": json.dumps(about)}), path)
    return path


def matrix(index: SearchIndex, column: str = "embedding") -> np.ndarray:
    return index.vectors(column).take(np.arange(len(index.live)))


def cosines(vectors: np.ndarray, query: np.ndarray, center: bool = True) -> np.ndarray:
    mean = vectors.mean(axis=0) if center else 0
    vectors, query = vectors - mean, query - mean
    return vectors @ query / np.linalg.norm(vectors, axis=1) / np.linalg.norm(query)


def test_what_is_nearest(catalog):
    index = SearchIndex(catalog.index)
    hits = index.search({"embedding": catalog.vectors[2]}, number=6)
    expected = cosines(catalog.vectors, catalog.vectors[2])
    assert [hit.path for hit in hits] == [catalog.track(number) for number in np.argsort(-expected)]
    np.testing.assert_allclose([hit.score for hit in hits], np.sort(expected)[::-1], atol=1e-4)
    assert hits[0].metadata == {"seconds": 2.0, "genre": "jazz", "year": 1990}
    assert index.search({"embedding": catalog.vectors[2]}, 1, exclude=[2])[0].path == hits[1].path


def test_conditions_on_metadata(catalog):
    index, query = SearchIndex(catalog.index), {"embedding": catalog.vectors[0]}
    for condition, numbers in {
        "genre = 'jazz'": {0, 2},
        "genre in ('rock', 'folk') and year >= 1990": {3, 4},
        "genre is null": {5},
        "path like '%/1.flac' or seconds > 100": {1},
    }.items():
        assert {hit.path for hit in index.search(query, 10, condition)} == set(map(catalog.track, numbers))
    for condition, message in {
        "gnre = 'jazz'": '"gnre" not found.* Columns: path, seconds, genre, year. Write texts in single quotes',
        "year >= 'x'": "Could not convert string",
        "genre = ": "syntax error",
        "year > 3000": "none of the 6 tracks fulfills it",
        "path in (select content from read_text('/etc/passwd'))": "file system operations are disabled",
    }.items():
        with pytest.raises(DataError, match=f"--where .*{message}"):
            index.search(query, 10, condition)


def test_several_embeddings_are_mixed_by_weights(tmp_path):
    names = ("melody_embedding", "rhythm_embedding")
    create_index(write_table(tmp_path / "e.parquet", 60, names=names), tmp_path / "index")
    index = SearchIndex(tmp_path / "index")
    query = {name: matrix(index, name)[7] for name in names}
    weights = {"melody_embedding": 1.0, "rhythm_embedding": 0.5}
    expected = sum(weight * cosines(matrix(index, name), query[name]) for name, weight in weights.items())
    hits = index.search(query, 5, weights=weights)
    assert [hit.row for hit in hits] == np.argsort(-expected)[:5].tolist()
    np.testing.assert_allclose([hit.score for hit in hits], np.sort(expected)[::-1][:5], atol=1e-4)


def test_whitening_is_fitted_on_the_catalog(tmp_path):
    create_index(write_table(tmp_path / "e.parquet", 300), tmp_path / "index", whiten=4)
    index = SearchIndex(tmp_path / "index")
    found = vectors.prepare(index.faiss_index("embedding"), matrix(index))
    values = matrix(index) - matrix(index).mean(axis=0)
    components = np.linalg.svd(values, full_matrices=False)[2][:4]
    whitened = values @ components.T
    whitened /= whitened.std(axis=0)
    expected = whitened / np.linalg.norm(whitened, axis=1, keepdims=True)
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=2e-3)
    with pytest.raises(DataError, match="--whiten 13: 300 vectors of 12 numbers have fewer principal components"):
        create_index(tmp_path / "e.parquet", tmp_path / "other", whiten=13)


def test_inverted_lists_have_the_recall_that_they_say(tmp_path, monkeypatch):
    monkeypatch.setattr(vectors, "EXACT_TRACKS", 1000)
    names = ("embedding", "melody_embedding")
    notes = create_index(write_table(tmp_path / "e" / "0.parquet", 4000, names=names), tmp_path / "index")
    index = SearchIndex(tmp_path / "index")
    space = index.about["spaces"]["embedding"]
    assert space["kind"] == "inverted lists" and space["lists"] == 128 and 0.97 <= space["recall"] <= 1
    assert f"128 of which a query searches {space['probes']}; recall@10 {space['recall']:.3f}" in notes[1]
    values, hits = matrix(index), 0
    for number in range(50):
        query = values[number] + 0.1
        best = np.argsort(-cosines(values, query))[:10]
        hits += len({hit.row for hit in index.search({"embedding": query}, 10)} & set(best.tolist()))
    assert hits >= 0.9 * 500
    # Among few tracks, all inverted lists are searched: nothing is missed.
    few = index.search({"embedding": values[0]}, 10, "path in ('7.wav', '1234.wav', '3999.wav')")
    assert {hit.row for hit in few} == {7, 1234, 3999}
    mixed = index.search({name: matrix(index, name)[5] for name in names}, 3)
    assert mixed[0].row == 5
    # New tracks go into the lists; the advice to build again comes when they are many.
    write_table(tmp_path / "new.parquet", 4001, names=names, seed=1)
    notes = add_tracks(tmp_path / "new.parquet", tmp_path / "index")
    assert notes[0] == f"1 tracks added to {tmp_path / 'index'}, 4000 replaced"
    assert "8001 of 8001 rows were added or removed" in notes[1]
    index = SearchIndex(tmp_path / "index")
    assert len(index) == 4001 and len(index.search({"embedding": matrix(index)[4500]}, 5000)) == 4001


def test_tracks_are_added_replaced_and_removed(catalog, tmp_path):
    folder = shutil.copytree(catalog.index, tmp_path / "index")
    files = [tmp_path / "8.flac", tmp_path / "9.flac"]
    for seed, file in enumerate(files, start=8):
        write_tone(file, seconds=2, seed=seed)
    files.append(catalog.folder / "music" / "2.flac")
    embed(catalog.folder / "model", files, tmp_path / "new.parquet")
    (tmp_path / "new.csv").write_text("path,genre,year\n8.flac,techno,2020\n")
    assert add_tracks(tmp_path / "new.parquet", folder, tmp_path / "new.csv") == [
        f"{tmp_path / 'new.csv'}: metadata of 1 of 3 tracks",
        f"2 tracks added to {folder}, 1 replaced",
        "4 of 9 rows were added or removed since the index was built: build it again",
    ]
    index = SearchIndex(folder)
    hits = index.search({"embedding": catalog.vectors[2]}, 20)
    assert len(index) == len(hits) == 8 and len({hit.path for hit in hits}) == 8
    assert (hits[0].path, hits[0].metadata["genre"]) == (catalog.track(2), "jazz")  # kept of the replaced one
    assert [hit.path for hit in index.search({"embedding": catalog.vectors[2]}, 9, "genre = 'techno'")] == [
        str(tmp_path / "8.flac")
    ]
    assert remove_tracks(folder, [catalog.track(2), str(tmp_path)])[0] == f"3 tracks removed from {folder}"
    index = SearchIndex(folder)
    found = {hit.path for hit in index.search({"embedding": catalog.vectors[2]}, 20)}
    assert found == {catalog.track(number) for number in range(len(GENRES)) if number != 2}
    for paths, message in {
        (catalog.track(2),): "has no track .*2.flac: pass a path",
        ("/",): "remove the folder",
    }.items():
        with pytest.raises(DataError, match=message):
            remove_tracks(folder, list(paths))
    assert {path.suffix for path in folder.iterdir()} <= {".arrow", ".faiss", ".json", ""}
    assert len(list(folder.glob("*.faiss"))) == 2  # old ones are not left behind


def test_a_folder_of_shards(catalog, tmp_path):
    table = pq.read_table(catalog.folder / "music.parquet")
    (tmp_path / "shards").mkdir()
    for number in range(3):
        pq.write_table(table.slice(2 * number, 2), tmp_path / "shards" / f"{number}.parquet")
    pq.write_table(pa.table({"path": ["x"], "reason": ["broken"]}), tmp_path / "shards" / "failed.parquet")
    create_index(tmp_path / "shards", tmp_path / "index")
    found, expected = SearchIndex(tmp_path / "index"), SearchIndex(catalog.index)
    query = {"embedding": catalog.vectors[0]}
    assert [hit.path for hit in found.search(query)] == [hit.path for hit in expected.search(query)]


def test_an_interrupted_build_is_repeated(catalog, tmp_path, monkeypatch):
    def interrupted(*args):
        raise KeyboardInterrupt

    arguments = (catalog.folder / "music.parquet", tmp_path / "index")
    with monkeypatch.context() as patch:
        patch.setattr(update, "build", interrupted)
        with pytest.raises(KeyboardInterrupt):
            create_index(*arguments)
    with pytest.raises(DataError, match="is not an index: pass a folder that `mulap index` wrote"):
        SearchIndex(tmp_path / "index")
    create_index(*arguments)
    with pytest.raises(DataError, match="is an index: pass --overwrite to replace it, or --add to add to it"):
        create_index(*arguments)
    with monkeypatch.context() as patch:
        patch.setattr(update, "build", interrupted)
        with pytest.raises(KeyboardInterrupt):
            create_index(*arguments, overwrite=True)
    assert len(SearchIndex(tmp_path / "index")) == len(GENRES)  # the old one is whole
    with FileLock(tmp_path / "index" / ".lock"), pytest.raises(DataError, match="being changed by another process"):
        remove_tracks(tmp_path / "index", [catalog.track(0)])


def test_embeddings_of_another_model_are_refused(catalog, processor, tmp_path):
    save_model(tmp_path / "other", processor, seed=1)
    embed(tmp_path / "other", [catalog.folder / "music" / "0.flac"], tmp_path / "other.parquet")
    with pytest.raises(DataError, match=r"was embedded with another model \(.*other\) than .*index"):
        add_tracks(tmp_path / "other.parquet", catalog.index)
    with pytest.raises(DataError, match=r"--model .*other is not the model that"):
        create_index(catalog.folder / "music.parquet", tmp_path / "index", model=str(tmp_path / "other"))
    bare = pq.read_table(catalog.folder / "music.parquet").replace_schema_metadata()
    pq.write_table(bare, tmp_path / "bare.parquet")
    with pytest.raises(DataError, match="does not say which model it is of: name the model with --model"):
        create_index(tmp_path / "bare.parquet", tmp_path / "index")
    create_index(tmp_path / "bare.parquet", tmp_path / "index", model=str(catalog.folder / "model"))
    about = [json.loads((folder / "index.json").read_text()) for folder in (tmp_path / "index", catalog.index)]
    assert about[0]["fingerprints"] == about[1]["fingerprints"]


def test_tables_that_cannot_be_used(catalog, tmp_path):
    table, index = pq.read_table(catalog.folder / "music.parquet"), tmp_path / "index"
    broken = np.full((6, len(catalog.vectors[0])), np.nan, dtype=np.float32)
    column = pa.FixedSizeListArray.from_arrays(broken.ravel(), broken.shape[1])
    for name, content, message in (
        ("empty", table.slice(0, 0), "has no tracks"),
        ("twice", pa.concat_tables([table, table.slice(3, 1)]), "3.flac is there more than once"),
        ("chunks", table.append_column("chunk", [[0] * 6]), "one row per chunk: embed the tracks without --per_chunk"),
        ("other", pa.table({"path": ["a"]}), "no columns `path` and `embedding`"),
        ("nan", table.set_column(2, "embedding", column), "embedding of .*0.flac is not finite"),
    ):
        pq.write_table(content, tmp_path / f"{name}.parquet")
        with pytest.raises(DataError, match=f"{name}.parquet.*{message}"):
            create_index(tmp_path / f"{name}.parquet", index)
    (tmp_path / "words.parquet").write_text("words")
    for path, message in ((tmp_path / "words.parquet", "cannot be read"), (tmp_path / "nowhere", "no parquet file")):
        with pytest.raises(DataError, match=message):
            create_index(path, index)
    for name, content, message in (
        ("a.csv", "name,year\nx,1\n", "one column must be `path`"),
        ("b.csv", "path,year\nx,1\nx,2\n", "a path is there more than once"),
        ("c.csv", "path,seconds\nx,1\n", "rename the column seconds"),
        ("d.csv", "path,year\nx,1\n", "none of its paths, such as x, is of a track, such as .*0.flac"),
        ("e.csv", "path,year\nx,1,2\n", "cannot be read"),
        ("f.txt", "path", "pass a table that ends in .parquet, .csv, .tsv, .jsonl"),
    ):
        (tmp_path / name).write_text(content)
        with pytest.raises(DataError, match=f"--metadata .*{name}.*{message}"):
            create_index(catalog.folder / "music.parquet", index, tmp_path / name)
    (tmp_path / "music").mkdir()
    (tmp_path / "music" / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="exists and is not an index: choose another --output"):
        create_index(catalog.folder / "music.parquet", tmp_path / "music", overwrite=True)
    assert os.listdir(tmp_path / "music") == ["mine.txt"]
