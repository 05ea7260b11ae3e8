"""What holds of every objective, and what is particular to two views and to labels."""

import json
import math
import pickle
import sys

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from helpers import CAPTIONS, CHUNK, RATE, micro_config, waveforms, write_tone
from transformers import AutoModel, get_scheduler

from mulap_hf import MulapAudioModel
from mulap_hf.data.augmentation import Augmentation
from mulap_hf.data.streams import open_pairs
from mulap_hf.errors import DataError
from mulap_hf.modeling_mulap_losses import nt_xent
from mulap_hf.modeling_mulap_outputs import MulapAudioOutput
from mulap_hf.pretraining.arguments import OBJECTIVES, DataArguments, ModelArguments, TrainingArguments
from mulap_hf.pretraining.evaluation import evaluate
from mulap_hf.pretraining.objective import find_objective
from mulap_hf.pretraining.objectives.simclr import ViewCollator

CLIPS = 12
FIELDS = {"muscall": {"projection_size": 16}}
ALIGNED = {"projection_size": 16, "matching_similarity": True, "matching_negatives": "hard"}
BACKBONE_LOSSES = {"words_loss_weight": 1.0, "chunks_loss_weight": 1.0}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
STYLES = ["jazz", "rock", "techno"]


def tags(index: int) -> list[str]:
    """Each of `high`, `loud` and `fast` has other clips."""
    return [tag for tag, every in (("high", 2), ("loud", 3), ("fast", 4)) if index % every == 0]


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    folder = tmp_path_factory.mktemp("catalog")
    rows = []
    for index in range(CLIPS):
        name = f"{index:02d}.wav"
        write_tone(folder / name, seconds=0.9, seed=index)
        caption = f"{CAPTIONS[index % 5]} {CAPTIONS[index // 5]}"  # of each clip another
        style = STYLES[index % 3] if index else None
        rows.append({"file_name": name, "caption": caption, "tags": tags(index), "style": style, "source": "x"})
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def make_objective(name, catalog, processor, **data):
    kind = find_objective(name)
    data = DataArguments(clip_seconds=0.6, **data)
    pairs = open_pairs(catalog, "train", None, data.label_column if kind.needs_labels else None, kind.needs_captions)
    tokenizer = processor.tokenizer if kind.needs_captions else None
    extractor = processor.feature_extractor
    return kind(ModelArguments(objective=name), data, TrainingArguments(), extractor, pairs, tokenizer)


def make_model(objective, seed=0):
    torch.manual_seed(seed)
    fields = objective.config_fields | FIELDS.get(objective.model_args.objective, {})
    streams = {"text_config": NO_DROPOUT, "audio_config": NO_DROPOUT, "fusion_dropout_prob": 0.0}
    return objective.make_model(micro_config(**streams, **fields))


def batches_of(objective, model, size=CLIPS, training=False):
    """Batches as the loaders make them, and their tensors alone."""
    collator = objective.make_collator(model.config, training)
    collator.begin(0)
    rows = list(objective.pairs.dataset)
    return [collator(rows[start : start + size]) for start in range(0, CLIPS, size)]


def tensors_of(batch):
    return {name: value for name, value in batch.items() if torch.is_tensor(value)}


def terms_of(objective, model, batch):
    return objective.terms(objective.forward(model, batch))


@pytest.fixture(params=OBJECTIVES)
def objective(request, catalog, processor):
    return make_objective(request.param, catalog, processor)


def test_losses_reach_the_backbone(objective):
    model = make_model(objective).train()
    batch = tensors_of(*batches_of(objective, model, training=True))
    losses = terms_of(objective, model, batch)
    weights = objective.loss_weights(model.config)
    assert losses.keys() == weights.keys()
    assert all(torch.isfinite(loss) and loss > 0 for loss in losses.values())
    sum(weights[name] * loss for name, loss in losses.items()).backward()
    convolutions = [value for name, value in model.audio_model.named_parameters() if name.endswith("conv.weight")]
    assert len(convolutions) == 7
    assert all(value.grad.abs().sum() > 0 for value in convolutions)


def test_evaluation_is_repeatable(objective):
    model = make_model(objective).train()
    accelerator = Accelerator(cpu=True)
    first, second = (evaluate(objective, model, batches_of(objective, model, 5), accelerator) for _ in range(2))
    assert first == second
    assert model.training
    assert first.keys() > {"loss", "feature_std", "effective_rank", *objective.loss_weights(model.config)}
    assert all(math.isfinite(value) for value in first.values())


def test_loss_of_an_evaluation_is_that_of_its_batches(objective):
    """Of batches of 7 and 5: each counts as much as it has items."""
    model = make_model(objective).eval()
    batches = batches_of(objective, model, 7)
    metrics = evaluate(objective, model, batches, Accelerator(cpu=True))
    total = 0
    for name, weight in objective.loss_weights(model.config).items():
        counts = [objective.count(tensors_of(batch))[name] for batch in batches]
        with torch.no_grad():
            losses = [terms_of(objective, model, tensors_of(batch))[name].item() for batch in batches]
        assert metrics[name] == pytest.approx(np.average(losses, weights=counts))
        total += weight * metrics[name]
    assert metrics["loss"] == pytest.approx(total)


def test_count(objective):
    model = make_model(objective)
    batch = tensors_of(*batches_of(objective, model))
    counts = dict.fromkeys(objective.loss_weights(model.config), CLIPS)
    if objective.model_args.objective == "mulap":
        counts |= {"mlm_loss": (batch["mlm_labels"] >= 0).sum(), "mam_loss": batch["masked_chunks"].sum()}
    assert objective.count(batch) == counts


@pytest.mark.parametrize("name", ["mulap", "supervised"])
def test_step_is_the_same_however_it_is_split_up(name, catalog, processor):
    """Where no item is compared with the others."""
    objective = make_objective(name, catalog, processor)
    model = make_model(objective).eval()
    batch = tensors_of(*batches_of(objective, model))
    whole, counts = terms_of(objective, model, batch), objective.count(batch)
    parts = [{key: value[rows] for key, value in batch.items()} for rows in (slice(5), slice(5, None))]
    for loss in whole:
        summed = sum(terms_of(objective, model, part)[loss] * objective.count(part)[loss] for part in parts)
        assert summed.item() / counts[loss] == pytest.approx(whole[loss].item(), rel=1e-5)


# NT-Xent at temperature 0.5 is lowest where all of the 12 clips are equally far apart.
FLOORS = {
    "muscall": {"contrastive_loss": 0},
    "simclr": {"contrastive_loss": math.log(1 + 22 * math.exp((-1 / 11 - 1) / 0.5))},
    "supervised": {"classification_loss": 0},
}
PAIRS_FLOOR = math.log(1 + 62 * math.exp((-1 / 31 - 1) / 0.5))  # of 32 clips
REACHED = {
    "muscall": {"retrieval_r1": 0.9},
    "simclr": {"view_accuracy": 0.9},
    "supervised": {"roc_auc": 0.95},
}


def learn(objective, model, batch, steps: int, learning_rate: float):
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate)
    schedule = get_scheduler("linear", optimizer, 0, steps)
    model.train()
    for _ in range(steps):
        losses = terms_of(objective, model, tensors_of(batch))
        sum(weight * losses[loss] for loss, weight in objective.loss_weights(model.config).items()).backward()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()


@pytest.mark.parametrize("name", sorted(FLOORS))
def test_a_dozen_clips_are_learned_by_heart(name, catalog, processor):
    objective = make_objective(name, catalog, processor)
    model = make_model(objective)
    batches = batches_of(objective, model)
    before = evaluate(objective, model, batches, Accelerator(cpu=True))
    learn(objective, model, batches[0], steps=150, learning_rate=1e-3)
    after = evaluate(objective, model, batches, Accelerator(cpu=True))
    for loss, floor in FLOORS[name].items():
        assert after[loss] - floor < 0.05 * (before[loss] - floor), loss
    for measure, least in REACHED[name].items():
        assert after[measure] > least, measure


@pytest.mark.parametrize(
    ("fields", "steps"), [({}, 300), ({**ALIGNED, **BACKBONE_LOSSES}, 400)], ids=["published", "aligned"]
)
def test_mulap_learns_32_clips_by_heart(fields, steps, processor, tmp_path):
    """Every task's loss goes to its floor, and matching is right on pairs that the model did not draw itself."""
    rows = []
    for index in range(32):
        write_tone(tmp_path / f"{index}.wav", seconds=0.9, seed=index)
        caption = f"{CAPTIONS[index % 5]} {CAPTIONS[index // 5 % 5]} {CAPTIONS[index // 25]}"
        rows.append({"file_name": f"{index}.wav", "caption": caption})
    (tmp_path / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    objective = make_objective("mulap", tmp_path, processor)
    torch.manual_seed(0)
    streams = {"text_config": NO_DROPOUT, "audio_config": NO_DROPOUT, "fusion_dropout_prob": 0.0}
    model = objective.make_model(micro_config(mlm_loss_weight=1.0, **streams, **fields))
    collator = objective.make_collator(model.config, training=True)
    batch = collator(list(objective.pairs.dataset))
    before = evaluate(objective, model, [batch], Accelerator(cpu=True))
    learn(objective, model, batch, steps, learning_rate=3e-3)
    after = evaluate(objective, model, [batch], Accelerator(cpu=True))
    floors = {"chunks_loss": PAIRS_FLOOR, "words_loss": _entropy(batch)} if fields else {}
    for loss in objective.loss_weights(model.config):
        floor = floors.get(loss, 0)
        assert after[loss] - floor < 0.05 * (before[loss] - floor), loss
    assert after["mlm_accuracy"] > 0.95
    if fields:  # it has drawn mismatched pairs itself: here are others
        sources = torch.arange(32)
        sources[:16] = sources[:16].roll(1)
        batch |= {name: batch[name][sources] for name in ("input_ids", "attention_mask", "mlm_labels", "caption_ids")}
        batch["matching_labels"] = (sources != torch.arange(32)).long()
        after = evaluate(objective, model, [batch], Accelerator(cpu=True))
    assert after["matching_accuracy"] > 0.95


def _entropy(batch) -> float:
    """The lowest words_loss that there can be."""
    shares = batch["word_weights"]
    return -(shares * shares.clamp(min=1e-9).log()).sum(dim=1).mean().item()


def test_words_and_chunks_are_losses_of_their_own(catalog, processor):
    objective = make_objective("mulap", catalog, processor)
    torch.manual_seed(0)
    model = objective.make_model(micro_config(**BACKBONE_LOSSES))
    (batch,) = (tensors_of(one) for one in batches_of(objective, model))
    assert {"words_loss", "chunks_loss"} < objective.loss_weights(model.config).keys()
    batch["audio_attention_mask"][3:, CHUNK:] = 0  # no second chunk
    counts = objective.count(batch)
    assert (counts["words_loss"], counts["chunks_loss"]) == (CLIPS, 3)
    losses = terms_of(objective, model.eval(), batch)
    views = model(**batch).chunk_views
    assert losses["chunks_loss"].item() == pytest.approx(nt_xent(views[:, 0], views[:, 1], 0.5).item())
    metrics = evaluate(objective, model, [batch | {"ids": ["0"]}], Accelerator(cpu=True))
    assert metrics["words_loss"] == pytest.approx(losses["words_loss"].item())
    losses["chunks_loss"].backward()
    assert model.text_embeddings.word_embeddings.weight.grad is None  # of the backbone alone


def test_collators_reach_workers_that_are_not_forked(objective):
    rows = list(objective.pairs.dataset)[1:]
    config = make_model(objective).config
    for training in (True, False):
        collator = objective.make_collator(config, training)
        batch, same = pickle.loads(pickle.dumps(collator))(rows), collator(rows)
        assert all(torch.equal(batch[name], value) for name, value in same.items() if torch.is_tensor(value))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_augment_is_of_training_alone(name, catalog, processor):
    objective = make_objective(name, catalog, processor, augment=True)
    config = make_model(objective).config
    plain = make_objective(name, catalog, processor)
    rows = list(objective.pairs.dataset)[1:]
    for training in (True, False):
        augmented, clean = (one.make_collator(config, training)(rows)["input_values"] for one in (objective, plain))
        assert torch.equal(augmented, clean) == (name == "simclr" or not training)  # which makes its own views


def test_torchaudio_is_needed_only_to_augment(catalog, processor, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchaudio", None)  # as if it could not be imported
    plain = make_objective("mulap", catalog, processor)
    config = make_model(plain).config
    plain.make_collator(config, True)
    with pytest.raises(ImportError, match="pip install -U 'torch"):
        make_objective("mulap", catalog, processor, augment=True).make_collator(config, True)


def test_export_loads_by_auto_model(objective, tmp_path):
    model = make_model(objective).train()
    for seed in range(2):  # BatchNorm statistics that are not the initial ones
        model.audio_model(waveforms(3, 2 * CHUNK, seed))
    model.eval()
    objective.export(model).save_pretrained(tmp_path)
    loaded = AutoModel.from_pretrained(tmp_path).eval()
    backbone = loaded if isinstance(loaded, MulapAudioModel) else loaded.audio_model
    clips = waveforms(3, 2 * CHUNK, seed=9)
    with torch.no_grad():
        expected, actual = model.audio_model(clips), backbone(clips)
    assert torch.equal(actual.last_hidden_state, expected.last_hidden_state)
    assert torch.equal(actual.pooler_output, expected.pooler_output)


def test_the_projection_of_views_is_thrown_away(catalog, processor):
    objective = make_objective("simclr", catalog, processor)
    model = make_model(objective)
    assert objective.export(model) is model.audio_model
    features = model.config.audio_config.feature_size
    shapes = [tuple(value.shape) for value in model.projection.parameters()]
    assert shapes == [(features, features), (features,), (128, features), (128,)]


def test_muscall_loss_in_full(catalog, processor):
    objective = make_objective("muscall", catalog, processor)
    model = make_model(objective).eval()
    batch = tensors_of(*batches_of(objective, model))
    with torch.no_grad():
        loss = terms_of(objective, model, batch)["contrastive_loss"].item()
        inputs = ("input_values", "input_ids", "audio_attention_mask", "attention_mask")
        logits = model(**{name: batch[name] for name in inputs}).logits_per_audio
    rows, columns = logits.softmax(dim=1).diagonal(), logits.softmax(dim=0).diagonal()
    assert loss == pytest.approx(-(rows.log().mean() + columns.log().mean()).item() / 2, rel=1e-5)


def test_content_aware_weights_are_of_training_alone(catalog, processor):
    objective = make_objective("muscall", catalog, processor)
    batch = tensors_of(*batches_of(objective, make_model(objective)))
    losses = {}
    for weighted in (False, True):
        objective.args.content_aware_weights = weighted
        model = make_model(objective)
        assert model.config.content_aware_weights == weighted
        losses[weighted] = [
            terms_of(objective, model.train(mode), batch)["contrastive_loss"] for mode in (False, True)
        ]
    assert torch.equal(losses[False][0], losses[True][0])
    assert not torch.equal(losses[False][1], losses[True][1])


def test_views_are_scored_among_all_of_the_batch(catalog, processor):
    """Two clips whose views point where they should; then one view that points to the other clip."""
    objective = make_objective("simclr", catalog, processor)
    right = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0], [0.0, 4.0]])
    wrong = torch.tensor([[1.0, 0.0], [0.0, 2.0], [0.6, 0.8], [0.0, 4.0]])
    # At temperature 0.5 the logit of the partner is 2, those of the other clip's views 0.
    model = make_model(objective)
    model.audio_model.forward = lambda values: MulapAudioOutput(pooler_output=values)
    model.projection = torch.nn.Identity()
    for projections, accuracy, loss in ((right, 1.0, math.log(1 + 2 * math.exp(-2))), (wrong, 0.75, None)):
        batch = {"ids": ["0", "1"], "input_values": projections}
        assert objective.count(batch) == {"contrastive_loss": 2}
        metrics = evaluate(objective, model, [batch], Accelerator(cpu=True))
        assert metrics["view_accuracy"] == accuracy
        assert loss is None or metrics["loss"] == pytest.approx(loss)


def test_views_of_a_clip_lie_half_a_batch_apart(catalog, processor):
    plain = Augmentation(RATE, pitch=0, filter=0, noise=0, polarity=0, gain=0)
    options = {"clip_seconds": 0.6, "random_crop": False}
    collator = ViewCollator(**options, augmentation=plain, view_samples=2 * CHUNK)
    views = collator(list(open_pairs(catalog).dataset))["input_values"]  # as long as the clip: no crop
    assert views.shape == (2 * CLIPS, 2 * CHUNK)
    assert torch.equal(views[:CLIPS], views[CLIPS:])
    assert len(views.unique(dim=0)) == CLIPS


def test_views_change_in_training_only(catalog, processor):
    objective = make_objective("simclr", catalog, processor)
    config = micro_config()
    rows = list(objective.pairs.dataset)
    for training in (True, False):
        collator = objective.make_collator(config, training)
        views = []
        for epoch in (0, 1) if training else (0, 0):
            collator.begin(epoch)
            views.append(collator(rows)["input_values"])
        assert torch.equal(*views) != training
        first, second = views[0].chunk(2)
        assert not any(torch.equal(one, other) for one, other in zip(first, second, strict=True))


@pytest.mark.parametrize(("share", "chunks"), [(0.01, 1), (0.5, 1), (0.99, 1), (1.0, 2)])
def test_views_are_whole_chunks(catalog, processor, share, chunks):
    objective = make_objective("simclr", catalog, processor, view_share=share)
    assert objective.make_collator(micro_config(), True).view_samples == chunks * CHUNK


@pytest.mark.parametrize("share", [0.0, 1.5])
def test_a_share_that_is_none(catalog, processor, share):
    objective = make_objective("simclr", catalog, processor, view_share=share)
    with pytest.raises(DataError, match=f"--view_share must be more than 0 and at most 1, got {share}"):
        objective.make_collator(micro_config(), True)


def test_tags_of_a_list_column(catalog, processor):
    objective = make_objective("supervised", catalog, processor)
    model = make_model(objective)
    assert model.config.id2label == {0: "high", 1: "loud", 2: "fast"}  # 6, 4 and 3 clips have them
    assert model.config.label2id == {"high": 0, "loud": 1, "fast": 2}
    assert model.config.problem_type == "multi_label_classification"
    labels = batches_of(objective, model)[0]["labels"]
    assert labels.tolist() == [[float(index % every == 0) for every in (2, 3, 4)] for index in range(CLIPS)]
    fewer = make_objective("supervised", catalog, processor, num_labels=2)
    assert make_model(fewer).config.id2label == {0: "high", 1: "loud"}
    assert batches_of(fewer, make_model(fewer))[0]["labels"][1].tolist() == [0, 0]  # stays, without any


def test_classes_of_a_string_column(catalog, processor):
    objective = make_objective("supervised", catalog, processor, label_column="style")
    model = make_model(objective)
    assert model.config.id2label == {0: "rock", 1: "techno", 2: "jazz"}  # 4, 4 and 3 clips are of them
    assert model.config.problem_type == "single_label_classification"
    (batch,) = batches_of(objective, model)
    assert [str(item) for item in batch["skipped"]] == ["00.wav: has none of the labels that are trained on"]
    assert batch["labels"].tolist() == [(index - 1) % 3 for index in range(1, CLIPS)]
    metrics = evaluate(objective, model, [batch], Accelerator(cpu=True))
    assert metrics.keys() >= {"accuracy", "macro_f1"}


@pytest.mark.parametrize("options", [{"num_labels": 1}, {"label_column": "source"}])
def test_one_label_is_too_few(catalog, processor, options):
    column = options.get("label_column", "tags")
    with pytest.raises(DataError, match=f"--label_column {column}: .* at least two are needed"):
        make_objective("supervised", catalog, processor, **options)


def test_scores_of_tags(catalog, processor):
    objective = make_objective("supervised", catalog, processor)
    record = {
        "classification_loss": np.array(0.5),
        "classification_loss_count": 4,
        "labels": np.array([[1, 0, 1], [0, 0, 1], [1, 0, 0], [0, 0, 0]], dtype=np.float32),
        "logits": np.array([[2, 0, 1], [1, 0, 1], [0, 0, 1], [-1, 0, 1]], dtype=np.float32),
        "embedding": np.eye(4, dtype=np.float32),
    }
    metrics = objective.summarize([record])
    # Three of four pairs in order; no clip has the second label; nothing but ties.
    assert metrics["roc_auc"] == (0.75 + 0.5) / 2
    nothing = objective.summarize([record | {"labels": np.zeros((4, 3), dtype=np.float32)}])
    assert "roc_auc" not in nothing
