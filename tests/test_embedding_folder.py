"""Folders of embeddings, tables of paths, and the forms in which other tools read them."""

import json
import os
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from helpers import rows_in, write_tone

from mulap_hf.cli import main
from mulap_hf.embedding import Embedder
from mulap_hf.embedding_files import write_embeddings


@pytest.fixture
def music(tmp_path):
    for index in range(5):
        write_tone(tmp_path / "music" / f"{index}.wav", seconds=0.5 + index / 4, seed=index)
    return sorted((tmp_path / "music").iterdir())


@pytest.fixture
def embed(model_folder, capsys):
    """Runs the command in this process: exit status, what it prints and what it complains about."""

    def run_command(*arguments):
        with pytest.raises(SystemExit) as end:
            main(["embed", "--model", str(model_folder), "--workers", "0", *map(str, arguments)])
        return end.value.code, *capsys.readouterr()

    return run_command


def test_a_folder_grows(model_folder, embed, music, tmp_path):
    output, broken = tmp_path / "out", tmp_path / "music" / "broken.wav"
    broken.write_bytes(b"noise")
    status, printed, errors = embed(*music[:3], broken, "--output", f"{output}/")
    assert (status, printed) == (1, f"3 of 4 files embedded in {output}/\n") and "broken.wav: broken, or" in errors
    assert sorted(os.listdir(output)) == ["embeddings-000000.parquet", "failed.parquet", "settings.json"]
    (failure,) = pq.read_table(output / "failed.parquet").to_pylist()
    assert failure["path"] == str(broken) and failure["reason"].startswith("broken, or not in a format")
    before = (output / "embeddings-000000.parquet").read_bytes()

    write_tone(broken, seconds=0.7)
    assert embed(music[0], *music[3:], broken, "--output", f"{output}/")[0] == 0
    assert set(rows_in(output)) == {*map(str, music), str(broken)}
    assert (output / "embeddings-000000.parquet").read_bytes() == before
    assert not (output / "failed.parquet").exists()

    write_embeddings(Embedder(model_folder), [*music, broken], tmp_path / "file.parquet", progress=False)
    for row in pq.read_table(tmp_path / "file.parquet").to_pylist():
        expected = np.array(row["embedding"])
        np.testing.assert_allclose(rows_in(output)[row["path"]], expected, rtol=0, atol=1e-6 * expected.max())


def test_changed_files_replace_their_rows(embed, music, tmp_path):
    output = tmp_path / "out"
    assert embed(*music, "--output", f"{output}/")[0] == 0
    before = rows_in(output)
    write_tone(music[1], seconds=0.9, seed=99)
    os.utime(music[1], (time.time() + 10,) * 2)
    assert embed(*music, "--output", f"{output}/")[0] == 0
    after = rows_in(output)
    assert set(after) == set(before)
    assert [path for path in before if not np.array_equal(before[path], after[path])] == [str(music[1])]


def test_overwritten_folder_and_other_settings(embed, music, tmp_path):
    output = tmp_path / "out"
    assert embed(music[0], "--output", f"{output}/")[0] == 0
    (output / "mine.txt").write_text("kept")
    status, _, errors = embed(music[0], "--output", f"{output}/", "--per_chunk")
    assert status == 2 and "embeddings of an earlier run with other settings: per_chunk (False, now True)" in errors
    assert embed(music[1], "--output", f"{output}/", "--per_chunk", "--overwrite")[0] == 0
    table = pq.read_table(output / "embeddings-000000.parquet")
    assert set(table["path"].to_pylist()) == {str(music[1])} and table["chunk"].to_pylist() == [0, 1]
    assert (output / "mine.txt").read_text() == "kept"


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_tables_of_paths(embed, music, tmp_path, suffix):
    paths = [f"music/{music[0].name}", str(music[1]), f"music/{music[0].name}", "music/gone.wav"]
    table, file = pa.table({"title": list("abcd"), "path": paths}), tmp_path / f"songs.{suffix}"
    pq.write_table(table, file) if suffix == "parquet" else pyarrow.csv.write_csv(table, file)
    status, _, errors = embed(music[2], "--paths", file, "--output", f"{tmp_path}/out/")
    assert status == 1 and f"{tmp_path}/music/gone.wav: the file does not exist" in errors
    assert set(rows_in(tmp_path / "out")) == {str(path) for path in music[:3]}
    status, _, errors = embed("--paths", file, "--path_column", "name", "--output", f"{tmp_path}/other/")
    assert status == 2 and f"{file}: no column name (it has title, path): name one with --path_column" in errors


def test_refused_inputs_and_outputs(embed, music, tmp_path):
    (tmp_path / "broken.parquet").write_bytes(b"noise")
    (tmp_path / "gap.csv").write_text("path,title\na.wav,A\n,B\n")
    for arguments, message in (
        (["--output", f"{tmp_path}/out/"], "nothing to embed: name audio files or folders, or a table of them"),
        (["--paths", tmp_path / "no.csv", "--output", "x/"], "no.csv: it cannot be read: it does not exist"),
        (["--paths", tmp_path / "broken.parquet", "--output", "x/"], "broken.parquet: it cannot be read"),
        (["--paths", tmp_path / "gap.csv", "--output", "x/"], "gap.csv: row 1 has no path: remove it"),
        (
            [music[0], "--output", f"{tmp_path}/out/", "--format", "npy"],
            "is a folder of parquet files: for",
        ),
        (["nonsense://x/y", "--output", "x/"], "nonsense://x/y cannot be opened: Protocol not known"),
    ):
        status, _, errors = embed(*arguments)
        assert status == 2 and message in errors.splitlines()[-1]


def test_npy_and_jsonl(embed, music, tmp_path):
    for name in ("out.parquet", "out.npy", "lines.jsonl"):
        assert embed(*music, "--output", tmp_path / name)[0] == 0
    table = pq.read_table(tmp_path / "out.parquet").to_pylist()
    matrix = np.load(tmp_path / "out.npy")
    assert matrix.dtype == np.float32
    np.testing.assert_array_equal(matrix, [row["embedding"] for row in table])
    lines = [json.loads(line) for line in (tmp_path / "lines.jsonl").read_text().splitlines()]
    assert lines == table
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert rows == [{"path": row["path"], "seconds": row["seconds"]} for row in table]
    assert embed(music[0], "--output", tmp_path / "data", "--format", "jsonl")[0] == 0
    assert json.loads((tmp_path / "data").read_text())["path"] == str(music[0])


@pytest.fixture(scope="module")
def table(model_folder, tmp_path_factory) -> Path:
    """Embeddings of three files, as one parquet file."""
    folder = tmp_path_factory.mktemp("vectors")
    for index in range(3):
        write_tone(folder / "music" / f"{index}.wav", seconds=0.5, seed=index)
    write_embeddings(
        Embedder(model_folder), sorted((folder / "music").iterdir()), folder / "t.parquet", progress=False
    )
    return folder / "t.parquet"


@pytest.fixture(scope="module")
def vectors(table) -> np.ndarray:
    return np.array(pq.read_table(table)["embedding"].to_pylist(), dtype=np.float32)


def test_pandas(table, vectors):
    import pandas

    np.testing.assert_array_equal(np.stack(pandas.read_parquet(table)["embedding"]), vectors)


def test_polars(table, vectors):
    import polars

    column = polars.read_parquet(table)["embedding"]
    assert column.dtype == polars.Array(polars.Float32, vectors.shape[1])
    np.testing.assert_array_equal(column.to_numpy(), vectors)


def test_duckdb(table, vectors):
    import duckdb

    query = f"""SELECT path, list_cosine_similarity(embedding, (SELECT embedding FROM '{table}' LIMIT 1 OFFSET 1))
    FROM '{table}' ORDER BY 2 DESC LIMIT 1"""
    ((path, similarity),) = duckdb.sql(query).fetchall()
    assert path.endswith("1.wav") and similarity == pytest.approx(1)


def test_lancedb(table, vectors, tmp_path):
    import lancedb

    songs = lancedb.connect(tmp_path / "db").create_table("songs", pq.read_table(table))
    (found,) = songs.search(vectors[2], vector_column_name="embedding").limit(1).to_list()
    assert found["path"].endswith("2.wav")


def test_qdrant(table, vectors):
    import qdrant_client

    client = qdrant_client.QdrantClient(":memory:")
    models = qdrant_client.models
    size = models.VectorParams(size=vectors.shape[1], distance=models.Distance.COSINE)
    client.create_collection("songs", vectors_config=size)
    rows = pq.read_table(table).to_pylist()
    points = [
        models.PointStruct(id=number, vector=row.pop("embedding"), payload=row) for number, row in enumerate(rows)
    ]
    client.upsert("songs", points)
    (found,) = client.query_points("songs", query=vectors[2].tolist(), limit=1).points
    assert found.payload["path"].endswith("2.wav")
