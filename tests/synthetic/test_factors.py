"""Pieces of three independent factors: what pieces share that share a factor, and triplets on disk."""

import json

import numpy as np
import pytest

from mulap_hf.synthetic import CorpusConfig
from mulap_hf.synthetic.__main__ import main
from mulap_hf.synthetic.factors import FACTORS, Factors, make_piece, make_triplet

CONFIG = CorpusConfig(clip_seconds=3.0)
OWN_LABELS = {
    "melody": ("key", "progression"),
    "rhythm": ("tempo", "beats_per_bar", "groove"),
    "timbre": ("instruments",),
}


@pytest.mark.parametrize("factor", FACTORS)
def test_a_triplet_shares_what_it_should(factor):
    pieces = make_triplet(CONFIG, "train", factor, 0)
    anchor, positive, negative = (pieces[part] for part in ("anchor", "positive", "negative"))
    for other in FACTORS:
        assert (anchor[other] == positive[other]) == (other == factor)
        assert (anchor[other] == negative[other]) == (other != factor)
    for label in OWN_LABELS[factor]:
        assert anchor[label] == positive[label]
    for other in set(FACTORS) - {factor}:
        for label in OWN_LABELS[other]:
            assert anchor[label] == negative[label]


def test_a_piece_depends_on_its_seeds_alone():
    piece = make_piece(CONFIG, "train", Factors(1, 2, 3))
    again = make_piece(CONFIG, "train", Factors(1, 2, 3))
    assert np.array_equal(piece["audio"], again["audio"])
    assert piece["audio"].dtype == np.float32 and len(piece["audio"]) == 48000
    for factor in FACTORS:
        changed = make_piece(CONFIG, "train", Factors(**{"melody": 1, "rhythm": 2, "timbre": 3, factor: 9}))
        assert not np.array_equal(piece["audio"], changed["audio"])


def onsets(audio: np.ndarray) -> np.ndarray:
    """Indices of the frames (10 ms) in which the energy rises most."""
    energy = np.log(np.square(audio).reshape(-1, 160).sum(axis=1) + 1e-6)
    rise = np.diff(energy)
    return set(np.argsort(rise)[-8:])


def test_rhythm_decides_on_the_onsets():
    """Pieces with the same rhythm have more onsets in common than pieces with another one, all else equal."""
    shared = differ = 0
    for index in range(6):
        pieces = make_triplet(CONFIG, "train", "rhythm", index)
        anchor, positive, negative = (onsets(pieces[part]["audio"]) for part in ("anchor", "positive", "negative"))
        shared += len(anchor & positive)
        differ += len(anchor & negative)
    assert shared > 2 * differ


def test_splits_have_other_seeds():
    assert make_triplet(CONFIG, "train", "melody", 0)["anchor"]["melody"] not in {
        make_triplet(CONFIG, split, factor, 0)["anchor"]["melody"]
        for split in ("validation", "test")
        for factor in FACTORS
    }


def test_unknown_factor_is_refused():
    with pytest.raises(ValueError, match="factor 'mood' does not exist; choose one of melody, rhythm, timbre"):
        make_triplet(CONFIG, "train", "mood", 0)


def test_the_command_writes_triplets_and_resumes(tmp_path):
    options = ["--triplets", "timbre", "--split", "test", "--clip_seconds", "2", "--num_workers", "1"]

    def write(number: int):
        main([*options, "--output", str(tmp_path), "--num_clips", str(number)])
        rows = (tmp_path / "triplets" / "timbre" / "test" / "metadata.jsonl").read_text().splitlines()
        return [json.loads(row) for row in rows]

    first = write(1)
    assert [row["part"] for row in first] == ["anchor", "positive", "negative"]
    file = tmp_path / "triplets" / "timbre" / "test" / first[1]["file_name"]
    before = file.stat().st_mtime_ns
    both = write(2)
    assert both[:3] == first and [row["triplet"] for row in both] == [0, 0, 0, 1, 1, 1]
    assert file.stat().st_mtime_ns == before
    assert both[0]["timbre"] == both[1]["timbre"] != both[2]["timbre"]


def test_triplets_are_flac_only(tmp_path):
    with pytest.raises(Exception, match="--triplets writes flac only; drop --format parquet"):
        main(["--output", str(tmp_path), "--triplets", "melody", "--format", "parquet"])
