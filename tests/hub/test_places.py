"""Other libraries, with models of the Hub where the package is not installed: fine-tuned, published, and used again.

Runs the snippets of model_cards/README.md and of the model card, word for word. MTEB is in test_mteb.py, endpoints are
in test_handler.py and test_doors.py.
"""

import json
import re

import numpy as np
import pytest
from helpers import CAPTIONS, ROOT, micro_config, run_without_package, save_both, settle, write_tone

from mulap_hf import MulapForAudioClassification, MulapModel
from mulap_hf.publishing.card import make_card

LABELS = {0: "low", 1: "high"}
FILES = ["song.mp3", "other.mp3"]

# After the snippets: adapters that are trained, saved, loaded and merged, and fine-tuning by sentence-transformers.
TUNE = """
import json, sys
import numpy as np, torch
from huggingface_hub import HfApi
for name, folder in zip(sys.argv[1::2], sys.argv[2::2]):
    HfApi().create_repo(name)
    HfApi().upload_folder(repo_id=name, folder_path=folder)
exec(open("first.py").read())
assert not any(name.startswith("mulap_hf.") for name in sys.modules)
found = {}

from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModel, AutoModelForAudioClassification, AutoProcessor
trust = {"trust_remote_code": True}
processor = AutoProcessor.from_pretrained("org/mulap", **trust)
pairs = processor(audio=["song.mp3", "other.mp3"], text=["calm", "loud"], audio_kwargs={"resample": True})
clips = {name: value for name, value in pairs.items() if "ids" not in name and name != "attention_mask"}
cases = {
    "streams": (AutoModel, "org/mulap", ["q_proj", "v_proj"], None, pairs, {"return_loss": True}),
    "tagger": (AutoModelForAudioClassification, "org/mulap-tagging", ["conv"], ["classifier"], clips,
               {"labels": torch.tensor([0, 1])}),
}
for case, (auto, name, targets, saved, inputs, task) in cases.items():
    def outputs(model):
        with torch.no_grad():
            return model.eval()(**inputs)["logits" if case == "tagger" else "logits_per_audio"]
    before = outputs(auto.from_pretrained(name, **trust))
    adapter = LoraConfig(target_modules=targets, modules_to_save=saved, init_lora_weights=False)
    tuned = get_peft_model(auto.from_pretrained(name, **trust), adapter).train()
    tuned(**inputs, **task).loss.backward()
    torch.optim.SGD([value for value in tuned.parameters() if value.requires_grad], lr=0.1).step()
    expected = outputs(tuned)
    tuned.push_to_hub(f"{name}-lora")
    again = PeftModel.from_pretrained(auto.from_pretrained(name, **trust), f"{name}-lora")
    loaded, merged = outputs(again), outputs(again.merge_and_unload())
    found[case] = [float((other - expected).abs().max()) for other in (before, loaded, merged)]

from datasets import Dataset
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
captions = json.load(open("captions.json"))[:4]
sentences = SentenceTransformer("org/mulap", trust_remote_code=True, device="cpu")
rng = np.random.default_rng(0)
sounds = [{"array": (rng.normal(size=9600) / 8).tolist(), "sampling_rate": 16000} for _ in captions]
arguments = SentenceTransformerTrainingArguments(
    "run", max_steps=12, per_device_train_batch_size=4, learning_rate=3e-3, logging_steps=1, report_to=[],
    use_cpu=True, disable_tqdm=True, save_strategy="no", lr_scheduler_type="constant",
)
data = Dataset.from_dict({"audio": sounds, "caption": captions})
trainer = SentenceTransformerTrainer(
    sentences, arguments, train_dataset=data, loss=MultipleNegativesRankingLoss(sentences)
)
trainer.train()
found["losses"] = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
sentences.push_to_hub("org/mulap-mine")
found["embeddings"] = sentences.encode(["song.mp3", *captions]).tolist()
print("FOUND" + json.dumps(found))
"""
USE = """
import json
exec(open("second.py").read())
from sentence_transformers import SentenceTransformer
sentences = SentenceTransformer("org/mulap-mine", trust_remote_code=True, device="cpu")
embeddings = sentences.encode(["song.mp3", *json.load(open("captions.json"))[:4]])
print("FOUND" + json.dumps({"embeddings": embeddings.tolist()}))
"""


def snippets(text: str) -> list[str]:
    return re.findall(r"^```py\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def run_and_read(code: str, *arguments, **options) -> tuple[dict, list[str]]:
    """What a process found, and the lines that it printed before."""
    done = run_without_package(code, *arguments, **options)
    assert done.returncode == 0, done.stderr
    printed, _, found = done.stdout.partition("FOUND")
    return json.loads(found), printed.splitlines()


@pytest.fixture(scope="module")
def places(hub, processor, tmp_path_factory) -> tuple[dict, list[str], dict, list[str]]:
    """What two users found and printed, of whom the second uses what the first has published."""
    place = tmp_path_factory.mktemp("places")
    joint = settle(MulapModel(micro_config(projection_size=96, contrastive_loss_weight=1.0)))
    tagger = MulapForAudioClassification(micro_config(id2label=LABELS, label2id={"low": 0, "high": 1}))
    models = {"org/mulap": (joint, processor), "org/mulap-tagging": (settle(tagger), processor.feature_extractor)}
    folders = []
    for name, (model, inputs) in models.items():
        folders += [name, save_both(model, inputs, place / name)]
    for seed, file in enumerate(FILES):
        write_tone(place / file, seconds=1 + seed, rate=44100, channels=2, seed=seed)
    *first, second = snippets((ROOT / "model_cards" / "README.md").read_text())
    first += [code for name in models for code in snippets(make_card(place / name, {}, {}, name).text)]
    (place / "first.py").write_text("\n".join(first))
    (place / "second.py").write_text(second)
    (place / "captions.json").write_text(json.dumps(CAPTIONS))
    maker = run_and_read(TUNE, *folders, cwd=place, env=hub.environment(place / "home"))
    user = run_and_read(USE, cwd=place, env=hub.environment(place / "user", token="hf_read"))
    return *maker, *user


def test_snippets_print_what_they_promise(places):
    _, first, _, second = places
    text = (ROOT / "model_cards" / "README.md").read_text()
    promised = re.findall(r"^print\(.*\)  # (.*)$", "\n".join(snippets(text)), re.MULTILINE)
    printed = [line for line in first if not line.startswith("{")] + second  # Trainer prints dicts
    assert [line for line in promised if line not in printed] == []
    assert "(2, 96)" in first and f"(2, {micro_config().audio_config.feature_size})" in first  # of the model cards


@pytest.mark.parametrize("case", ["streams", "tagger"])
def test_adapters(places, case):
    before, loaded, merged = places[0][case]
    assert before > 1e-3 and loaded == 0 and merged < 1e-4 * before + 1e-5


def test_fine_tuning_by_sentence_transformers(places):
    made, _, used, _ = places
    assert np.mean(made["losses"][-3:]) < 0.7 * made["losses"][0]
    np.testing.assert_allclose(used["embeddings"], made["embeddings"], atol=1e-6)
