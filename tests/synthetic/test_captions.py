from dataclasses import replace

import numpy as np
import pytest

from mulap_hf.synthetic import CaptionRates
from mulap_hf.synthetic.captions import Facts, write_caption
from mulap_hf.synthetic.vocabulary import INSTRUMENT_WORDS, STYLE_WORDS

FACTS = Facts(style="reggae", instruments=["bass", "organ"], tempo=72.0, key="F# minor", arousal=-0.4, valence=0.5)
PERFECT = CaptionRates(drop=0, wrong=0, irrelevant=0, extra_sentence=0, typo=0, lower_case=0)


def captions(rates, number=2000, seed=0):
    return [write_caption(FACTS, np.random.default_rng([seed, i]), rates) for i in range(number)]


def assert_rate(successes, trials, rate):
    """Assert that the number of successes is within four standard deviations of a binomial distribution."""
    assert abs(successes - trials * rate) <= 4 * np.sqrt(trials * rate * (1 - rate))


def test_attributes_are_dropped_and_wrong_at_the_configured_rates():
    rates = CaptionRates()
    written = captions(rates)
    mentioned = sum("style" in (*caption.right, *caption.wrong) for caption in written)
    assert_rate(mentioned, len(written), (1 - rates.irrelevant) * (1 - rates.drop))
    wrong = sum("style" in caption.wrong for caption in written)
    assert_rate(wrong, mentioned, rates.wrong)


def test_irrelevant_captions_occur_at_the_configured_rate():
    written = captions(replace(PERFECT, irrelevant=0.3))
    assert_rate(sum(not caption.right for caption in written), len(written), 0.3)


def test_perfect_captions_mention_true_attributes_only():
    for caption in captions(PERFECT, 200):
        assert any(word in caption.text.lower() for word in STYLE_WORDS["reggae"])
        assert any(word in caption.text.lower() for name in FACTS.instruments for word in INSTRUMENT_WORDS[name])
        assert not caption.wrong


def test_wrong_captions_never_mention_the_true_style():
    for caption in captions(replace(PERFECT, wrong=1.0), 200):
        assert "style" in caption.wrong and not caption.right
        assert not any(word in caption.text.lower() for word in STYLE_WORDS["reggae"])


def test_typos_swap_letters_only():
    clean, typos = (captions(replace(PERFECT, typo=rate), 200) for rate in (0.0, 1.0))
    assert not any("reggea" in caption.text.lower() for caption in clean)
    changed = [caption.text for caption in typos if "reggae" not in caption.text.lower()]
    assert len(changed) > 100


def test_captions_vary_in_wording_case_and_length():
    texts = [caption.text for caption in captions(CaptionRates(), 500)]
    assert len(set(texts)) > 450
    assert_rate(sum(text == text.lower() for text in texts), len(texts), 0.25 + 0.75 / 6 * 0.65)
    lengths = [len(text.split()) for text in texts]
    assert 7 <= np.mean(lengths) <= 16


@pytest.mark.parametrize("drop", [0.0, 1.0])
def test_omitted_attributes_leave_no_gaps(drop):
    for caption in captions(replace(CaptionRates(), drop=drop, typo=0.0), 300):
        assert caption.text == caption.text.strip()
        assert not any(gap in caption.text for gap in ("  ", " .", " ,", "None", "..", ",,", "{"))
