"""What is masked and mismatched: rates, leaks, repeatability, broken files."""

import numpy as np
import pytest
import soundfile as sf
import torch
from helpers import CAPTIONS, CHUNK, write_tone

from mulap_hf.data.augmentation import Augmentation
from mulap_hf.data.collator import PreTrainingCollator, mismatch_captions, word_importance

IGNORED = -100
WORDS = ("calmest rockviolins", "technopads")  # of several pieces each


def make_row(name, path, caption="a caption", content=None):
    return {"id": str(name), "audio": {"bytes": content, "path": str(path)}, "caption": caption, "problem": None}


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    for index in range(5):
        write_tone(folder / f"{index}.wav", seconds=1.0 + 0.5 * index, seed=index)
    return [
        make_row(
            index,
            folder / f"{index % 5}.wav",
            f"{CAPTIONS[index % 5]} {CAPTIONS[index // 5 % 5]}, {WORDS[index // 25]}",
        )
        for index in range(40)
    ]


def collator(processor, **options) -> PreTrainingCollator:
    return PreTrainingCollator(processor=processor, chunk_length=CHUNK, **{"clip_seconds": 1.2, **options})


def batches(collate, rows, epochs=25):
    """Many batches of the same rows, each epoch with other masks."""
    for epoch in range(epochs):
        collate.epoch = epoch
        yield collate(rows)


def within_binomial_bounds(successes, trials, rate):
    return abs(successes - rate * trials) < 5 * np.sqrt(trials * rate * (1 - rate))


def test_model_takes_what_it_gives(processor, rows, model):
    batch = collator(processor)(rows[:6])
    assert batch.pop("skipped") == []
    assert batch.pop("ids") == ["0", "1", "2", "3", "4", "5"]
    assert batch.pop("worker") == 0
    assert batch["input_values"].shape == (6, 19200)
    assert batch["masked_chunks"].shape == (6, 4)
    assert torch.isfinite(model(**batch).loss)


def test_same_seed_and_epoch_same_batch(processor, rows):
    def same(one, other):
        return all(torch.equal(one[k], other[k]) for k in one if torch.is_tensor(one[k]))

    first = collator(processor)(rows[:8])
    assert same(first, collator(processor)(rows[:8]))
    assert not same(first, collator(processor, epoch=1)(rows[:8]))
    assert not same(first, collator(processor, seed=1)(rows[:8]))


def test_rates_and_labels(processor, rows):
    tokenizer = processor.tokenizer
    plain = {row["id"]: tokenizer(row["caption"])["input_ids"] for row in rows}
    captions = {tuple(ids) for ids in plain.values()}
    counts = dict.fromkeys(("tokens", "chosen", "mask", "same", "chunks", "masked", "pairs", "mismatched"), 0)
    rates = {"mam_probability": 0.3, "min_masked_chunks": 0.0, "mismatch_probability": 0.5}
    collate = collator(processor, mlm_probability=0.2, **rates)
    silent = collator(processor, mlm_probability=0.0, **rates)
    for batch, unmasked in zip(batches(collate, rows), batches(silent, rows), strict=True):
        ids, labels, original = batch["input_ids"], batch["mlm_labels"], unmasked["input_ids"]
        assert torch.equal(batch["matching_labels"], unmasked["matching_labels"])
        mismatched = batch["matching_labels"] == 1
        assert (labels[mismatched] == IGNORED).all()
        chosen = labels != IGNORED
        assert torch.equal(labels[chosen], original[chosen])
        special = torch.isin(original, torch.tensor(tokenizer.all_special_ids))
        assert not (chosen & special).any()
        assert torch.equal(ids[special], original[special])
        for row, text in enumerate(original):
            own = tuple(plain[batch["ids"][row]])
            given = tuple(text[batch["attention_mask"][row].bool()].tolist())
            assert given in captions
            assert (given != own) == bool(mismatched[row])
        matched = ~mismatched[:, None] & ~special
        counts["tokens"] += int(matched.sum())
        counts["chosen"] += int(chosen.sum())
        counts["mask"] += int((ids[chosen] == tokenizer.mask_token_id).sum())
        counts["same"] += int((ids[chosen] == original[chosen]).sum())
        real = batch["audio_attention_mask"].unflatten(1, (-1, CHUNK)).all(dim=2)
        assert not (batch["masked_chunks"] & ~real).any()
        counts["chunks"] += int(real.sum())
        counts["masked"] += int(batch["masked_chunks"].sum())
        counts["pairs"] += len(mismatched)
        counts["mismatched"] += int(mismatched.sum())
    assert within_binomial_bounds(counts["chosen"], counts["tokens"], 0.2)
    assert within_binomial_bounds(counts["mask"], counts["chosen"], 0.8)
    assert within_binomial_bounds(counts["same"], counts["chosen"], 0.1 + 0.1 / len(tokenizer))
    assert within_binomial_bounds(counts["masked"], counts["chunks"], 0.3)
    assert within_binomial_bounds(counts["mismatched"], counts["pairs"], 0.5)


def test_short_clips_have_a_masked_chunk_in_expectation(processor, rows):
    collate = collator(processor, mam_probability=0.15, min_masked_chunks=1.0)
    masked, clips = 0, 0
    for batch in batches(collate, rows[4:5] * 20):  # of four chunks
        masked += int(batch["masked_chunks"].sum())
        clips += 20
    assert within_binomial_bounds(masked, 4 * clips, 0.25)
    off = collator(processor, mam_probability=0.0)
    assert not off(rows)["masked_chunks"].any()


def test_text_alone_does_not_tell_what_matches(processor, rows):
    """A linear classifier on the text (bag of tokens, [MASK] among them) stays at chance."""
    from sklearn.linear_model import LogisticRegression

    texts, labels = [], []
    for batch in batches(collator(processor, mlm_probability=0.3), rows, epochs=60):
        for ids in batch["input_ids"]:
            texts.append(np.bincount(ids, minlength=len(processor.tokenizer)))
        labels.extend(batch["matching_labels"].tolist())
    texts, labels = np.array(texts), np.array(labels)
    half = len(labels) // 2
    score = LogisticRegression(max_iter=2000).fit(texts[:half], labels[:half]).score(texts[half:], labels[half:])
    assert abs(score - 0.5) < 5 * 0.5 / np.sqrt(half)
    # and each caption is used exactly once
    batch = next(batches(collator(processor, mlm_probability=0.0), rows))
    given = sorted(map(tuple, batch["input_ids"].tolist()))
    expected = sorted(map(tuple, processor(text=[row["caption"] for row in rows])["input_ids"].tolist()))
    assert given == expected


def test_whole_words(processor, rows):
    tokenizer = processor.tokenizer
    collate = collator(processor, mlm_probability=0.3, whole_words=True, mismatch_probability=0.0)
    pieces = 0
    for batch in batches(collate, rows, epochs=5):
        labels = batch["mlm_labels"]
        original = torch.where(labels == IGNORED, batch["input_ids"], labels)
        for ids, chosen in zip(original, labels != IGNORED, strict=True):
            for position, token in enumerate(tokenizer.convert_ids_to_tokens(ids)):
                if token.startswith("##"):
                    assert chosen[position] == chosen[position - 1]
                    pieces += 1
    assert pieces > 100


@pytest.mark.parametrize(
    "captions", [list("abcdefgh"), list("aabbccdd"), list("aaaaaabc"), list("ab"), ["a"], list("aaaa")]
)
def test_never_an_equal_caption(captions):
    moved = 0
    for seed in range(50):
        sources, mismatched = mismatch_captions(captions, 0.7, np.random.default_rng(seed))
        assert sorted(sources) == list(range(len(captions)))
        for own, source in enumerate(sources):
            assert bool(mismatched[own]) == (source != own)
            assert not mismatched[own] or captions[source] != captions[own]
        moved += mismatched.sum()
    assert (moved > 0) == (len(set(captions)) > 1)


def test_crops(processor, rows):
    long = [rows[4]]
    first = collator(processor, random_crop=False)
    assert torch.equal(
        first(long)["input_values"], collator(processor, random_crop=False, epoch=3)(long)["input_values"]
    )
    starts = {collator(processor, epoch=epoch)(long)["input_values"][0, 0].item() for epoch in range(5)}
    assert len(starts) == 5
    assert first([rows[0]])["audio_attention_mask"].sum() == 16000  # a shorter track is taken whole


def test_unusable_items_are_skipped_and_named(processor, rows, tmp_path):
    (tmp_path / "broken.mp3").write_bytes(b"noise")
    write_tone(tmp_path / "short.wav", seconds=0.05)
    sf.write(tmp_path / "silent.wav", np.zeros(20000), 16000)
    sf.write(tmp_path / "nan.wav", np.full(20000, np.nan), 16000, subtype="FLOAT")
    bad = {
        "broken": ("broken audio", "broken, or not in a format"),
        "short": ("shorter than --min_seconds 0.1", "0.05 s"),
        "silent": ("the crop is silent", ""),
        "nan": ("broken audio", "the sample at 0.001 s is NaN"),
    }
    items = [make_row(name, tmp_path / f"{name}.{'mp3' if name == 'broken' else 'wav'}") for name in bad]
    items.append({**make_row("told", "x"), "problem": "no caption"})
    batch = collator(processor)([rows[0], *items, rows[1]])
    assert batch["ids"] == ["0", "1"]
    assert batch["input_values"].shape[0] == 2
    skipped = {item.id: item for item in batch["skipped"]}
    assert skipped.pop("told").reason == "no caption"
    for name, (reason, detail) in bad.items():
        assert skipped[name].reason == reason and detail in skipped[name].detail
    # A reason names neither file nor number, or the table of a report would have a row per file.
    shorter = collator(processor, min_seconds=2)([make_row("a", tmp_path / "short.wav"), rows[0]])["skipped"]
    assert {item.reason for item in shorter} == {"shorter than --min_seconds 2"}
    assert collator(processor, min_seconds=0)([items[1]])["ids"] == ["short"]
    alone = collator(processor)(items)
    assert set(alone) == {"ids", "skipped", "worker"}
    assert alone["ids"] == []


def test_bytes_are_files_too(processor, rows):
    path = rows[2]["audio"]["path"]
    with open(path, "rb") as file:
        inside = make_row(rows[2]["id"], "inside.wav", rows[2]["caption"], file.read())
    expected, batch = (collator(processor)([row]) for row in (rows[2], inside))
    assert torch.equal(batch["input_values"], expected["input_values"])


def test_importance_is_the_inverse_document_frequency(processor):
    tokenizer = processor.tokenizer
    importance = word_importance(tokenizer, ["calm calm piano", "calm violin", "calm", "calm piano"])
    known = {word: importance[tokenizer.convert_tokens_to_ids(word)] for word in ("calm", "piano", "violin")}
    assert known == pytest.approx({"calm": 0.0, "piano": np.log(2), "violin": np.log(4)})
    assert np.count_nonzero(importance) == 2


def test_words_are_the_clips_own(processor, rows):
    """Whatever is masked or mismatched; what all captions have counts nothing."""
    tokenizer = processor.tokenizer
    importance = word_importance(tokenizer, [row["caption"] for row in rows])
    batch = collator(processor, importance=importance)(rows[:8])
    assert batch["matching_labels"].any()
    for row, ids, shares in zip(rows, batch["word_ids"], batch["word_weights"], strict=False):
        wanted = {index: importance[index] for index in tokenizer(row["caption"])["input_ids"] if importance[index]}
        found = {index: share for index, share in zip(ids.tolist(), shares.tolist(), strict=True) if share}
        assert found == pytest.approx({index: value / sum(wanted.values()) for index, value in wanted.items()})
    nothing = collator(processor, importance=np.zeros(len(tokenizer)))(rows[:2])
    assert not nothing["word_weights"].any()


def test_every_chunk_is_augmented_by_itself(processor, tmp_path):
    """Here by its level alone."""
    time = np.arange(3 * CHUNK + 100) / 16000
    sf.write(tmp_path / "tone.wav", 0.5 * np.sin(2 * np.pi * 1000 * time), 16000, subtype="FLOAT")
    row = make_row("tone", tmp_path / "tone.wav")
    level = Augmentation(pitch=0, filter=0, noise=0, polarity=0, gain=1)
    options = {"random_crop": False, "clip_seconds": 2.0}
    plain = collator(processor, **options)([row])["input_values"][0, : len(time)]
    augmented = collator(processor, **options, augmentation=level)([row])["input_values"][0, : len(time)]
    chunks = [(augmented[part], plain[part]) for part in (slice(i * CHUNK, (i + 1) * CHUNK) for i in range(4))]
    gains = [float(one @ other / (other @ other)) for one, other in chunks]
    for gain, (one, other) in zip(gains, chunks, strict=True):
        assert torch.allclose(one, gain * other, atol=1e-6)
        assert 10 ** (-12 / 20) <= gain <= 1
    assert len(set(np.round(gains, 3))) == 4


def test_a_file_that_ends_early_is_used_and_listed(processor, rows, tmp_path):
    path = tmp_path / "half.wav"
    write_tone(path, seconds=3.0)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    batch = collator(processor)([*rows[:2], make_row("half", path)])
    assert batch["ids"] == ["0", "1", "half"]
    (item,) = batch["skipped"]
    assert (item.id, item.reason) == ("half", "incomplete, used as far as it can be read")
    assert "it ends early, after 1.50 s of the 3.00 s in its header" in item.detail
