"""A model pushed to the Hub by one user's process and loaded by another's, where the package is not installed."""

import json

import torch
from helpers import CAPTIONS, inputs, micro_config, run, run_without_package, settle

from mulap_hf import MulapModel

PUSH = """
import sys
import mulap_hf
from transformers import AutoModel, AutoProcessor
AutoModel.from_pretrained(sys.argv[1]).push_to_hub("org/mulap-tiny", private=True)
AutoProcessor.from_pretrained(sys.argv[1]).push_to_hub("org/mulap-tiny")
"""
LOAD = """
import importlib.util, json, sys, torch
for name in ("soundfile", "soxr"):  # which only the pipelines need
    sys.modules[name] = None
from transformers import AutoModel, AutoProcessor
found = {"installed": importlib.util.find_spec("mulap_hf") is not None, "scores": []}
for options in ({}, {"local_files_only": True}):
    options |= {"trust_remote_code": True, "revision": sys.argv[2]}
    model = AutoModel.from_pretrained("org/mulap-tiny", **options).eval()
    processor = AutoProcessor.from_pretrained("org/mulap-tiny", **options)
    with torch.no_grad():
        found["scores"].append(model(**torch.load(sys.argv[1])).logits_per_audio.tolist())
found["ids"] = processor(text=sys.argv[3:])["input_ids"].tolist()
print("FOUND" + json.dumps(found))
"""


def test_pushed_by_one_loaded_by_another(hub, processor, tmp_path):
    model = settle(MulapModel(micro_config()))
    model.save_pretrained(tmp_path / "model")
    processor.save_pretrained(tmp_path / "model")
    torch.save(inputs(), tmp_path / "batch.pt")
    pushed = run("-c", PUSH, tmp_path / "model", env=hub.environment(tmp_path / "pusher"))
    assert pushed.returncode == 0, pushed.stderr
    repository = hub.repositories["model", "org/mulap-tiny"]
    assert repository.private
    head = repository.find("main")
    assert head.files["model.safetensors"].large
    assert json.loads(head.files["config.json"].data)["auto_map"]["AutoModel"] == "modeling_mulap.MulapModel"

    hub.requests.clear()
    arguments = (tmp_path / "batch.pt", head.sha, *CAPTIONS[:2])
    loaded = run_without_package(LOAD, *arguments, env=hub.environment(tmp_path / "loader", token="hf_read"))
    assert loaded.returncode == 0, loaded.stderr
    found = json.loads(loaded.stdout.split("FOUND")[1])
    assert not found["installed"]
    with torch.no_grad():
        expected = model(**inputs()).logits_per_audio
    for scores in found["scores"]:
        torch.testing.assert_close(torch.tensor(scores), expected)
    assert found["ids"] == processor(text=CAPTIONS[:2])["input_ids"].tolist()
    assert not any(request.writes for request in hub.requests)
