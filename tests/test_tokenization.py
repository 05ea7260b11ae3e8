"""The tokenizer that is learned from captions is an ordinary BERT tokenizer."""

import pytest
from helpers import CAPTIONS
from transformers import AutoTokenizer, BertTokenizer

from mulap_hf.tokenization import SPECIAL_TOKENS, train_tokenizer


def test_trained_tokenizer_survives_saving(tmp_path):
    tokenizer = train_tokenizer(CAPTIONS * 2, vocab_size=90, max_length=12)
    assert isinstance(tokenizer, BertTokenizer)
    assert len(tokenizer) <= 90
    assert tokenizer.convert_ids_to_tokens([0, 1, 2, 3, 4]) == SPECIAL_TOKENS
    text = "A CALM Piano, slow techno!"
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert isinstance(loaded, BertTokenizer)
    assert loaded(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert tokenizer.decode(tokenizer("calm piano")["input_ids"]) == "[CLS] calm piano [SEP]"
    assert len(loaded("piano " * 50, truncation=True)["input_ids"]) == 12


def test_same_captions_same_vocabulary():
    captions = [f"{first} {second}" for first in CAPTIONS for second in CAPTIONS]
    vocabularies = [train_tokenizer(captions, vocab_size=100).get_vocab() for _ in range(8)]
    assert all(vocabulary == vocabularies[0] for vocabulary in vocabularies)
    assert 80 < len(vocabularies[0]) <= 100


def test_no_captions():
    with pytest.raises(ValueError, match="captions is empty"):
        train_tokenizer([])
