"""An embedding is the same through every door, whatever is computed with it: each way that a user has to embed a file.

Two spaces, the backbone's and the joint one, by the classes, the pipeline, sentence-transformers and the endpoint's
handler, each here and from the Hub without the package, and by `mulap embed`.
"""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from endpoint_helpers import ENDPOINT
from helpers import micro_config, run_without_package, save_both, settle, write_tone

from mulap_hf import MulapModel, cli

# Of different rates, channels and lengths: shorter than a chunk (0.3 s), a little longer, and of many chunks.
FILES = {"a.wav": (16000, 1, 2.13), "b.mp3": (44100, 2, 5.0), "c.flac": (48000, 1, 0.2), "d.ogg": (22050, 2, 0.61)}
NAME = "org/mulap-doors"

# Prints the embeddings of the files through every door but `mulap embed`: {door: {"backbone": [...], "joint": [...]}}.
DOORS = """
import json, sys
import importlib.util
from pathlib import Path
import torch
from huggingface_hub import HfApi, snapshot_download
from sentence_transformers import SentenceTransformer
from transformers import AutoModel, AutoProcessor, pipeline

name, source, files = sys.argv[1], sys.argv[2], sys.argv[3:]
HfApi().create_repo(name)
HfApi().upload_folder(repo_id=name, folder_path=source)
found = {}

model = AutoModel.from_pretrained(name, trust_remote_code=True).eval()
processor = AutoProcessor.from_pretrained(name, trust_remote_code=True)
for door, groups in {"class, together": [files], "class, alone": [[file] for file in files]}.items():
    spaces = found[door] = {"backbone": [], "joint": []}
    for group in groups:
        inputs = processor(audio=group, audio_kwargs={"resample": True})
        with torch.no_grad():
            spaces["joint"] += model.get_audio_features(**inputs).pooler_output.tolist()
            spaces["backbone"] += model.audio_model(**inputs).pooler_output.tolist()

embed = pipeline("feature-extraction", model=name, trust_remote_code=True, device="cpu")
for size in (1, 3):
    found[f"pipeline, {size}"] = {
        "backbone": embed(files, batch_size=size), "joint": embed(files, space="shared", batch_size=size)
    }

sentences = SentenceTransformer(name, trust_remote_code=True, device="cpu")
for size in (1, 4):
    turned = sentences.encode([*files[::-1], "a text between them"], batch_size=size)[:len(files)][::-1]
    found[f"sentence-transformers, {size}"] = {"joint": turned.tolist()}

folder = snapshot_download(name)
spec = importlib.util.spec_from_file_location("handler", f"{folder}/handler.py")
handler = importlib.util.module_from_spec(spec)
spec.loader.exec_module(handler)
answer = handler.EndpointHandler(folder)
contents = [Path(file).read_bytes() for file in files]
shared = {"space": "shared"}
found["endpoint, together"] = {
    "backbone": answer({"inputs": contents}), "joint": answer({"inputs": contents, "parameters": shared})
}
found["endpoint, alone"] = {
    "backbone": [answer({"inputs": one}) for one in contents],
    "joint": [answer({"inputs": one, "parameters": shared}) for one in contents],
}
print("FOUND" + json.dumps(found))
"""


@pytest.fixture(scope="module")
def doors(hub, processor, tmp_path_factory) -> dict[str, dict[str, list]]:
    """The embeddings of the files, by door and space."""
    place = tmp_path_factory.mktemp("doors")
    config = micro_config(projection_size=16, contrastive_loss_weight=1.0)
    folder = save_both(settle(MulapModel(config)), processor, place / "model")
    (folder / "handler.py").write_bytes((ENDPOINT / "handler.py").read_bytes())
    for seed, (name, (rate, channels, seconds)) in enumerate(FILES.items()):
        write_tone(place / "music" / name, seconds, rate, channels, seed)
    files = [str(place / "music" / name) for name in FILES]

    environment = hub.environment(place / "home")
    result = run_without_package(DOORS, NAME, folder, *files, env=environment)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout.split("FOUND")[1])
    for size, paths in ((1, files), (5, files[::-1])):
        table = place / f"{size}.parquet"
        options = ["--batch_size", str(size), "--workers", "0", "--space", "joint", "--device", "cpu"]
        with pytest.raises(SystemExit, match="0"):
            cli.main(["embed", *paths, "--model", str(folder), "--output", str(table), *options])
        rows = {row["path"]: row for row in pq.read_table(table).to_pylist()}
        found[f"mulap embed, {size}"] = {
            "backbone": [rows[path]["embedding"] for path in files],
            "joint": [rows[path]["joint_embedding"] for path in files],
        }
    return found


@pytest.mark.parametrize("space", ["backbone", "joint"])
def test_same_embedding_through_every_door(doors, space):
    expected = np.array(doors["class, alone"][space])
    assert len(expected) == len(FILES) and np.linalg.matrix_rank(expected) == len(FILES)
    scale = np.abs(expected).max()
    errors = {
        door: np.abs(np.array(spaces[space]) - expected).max() / scale
        for door, spaces in doors.items()
        if space in spaces
    }
    assert len(errors) >= 8
    assert max(errors.values()) <= 1e-6, errors
