"""A BERT-style WordPiece tokenizer trained on a corpus' own captions."""

from collections import Counter
from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, trainers
from tokenizers.models import WordPiece
from transformers import BertTokenizer

SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def train_tokenizer(captions: Iterable[str], vocab_size: int = 1024, max_length: int = 64) -> BertTokenizer:
    """A lower-casing WordPiece tokenizer like that of bert-base-uncased, learned from captions.

    Args:
        captions: the texts to learn from.
        vocab_size: most tokens to make, special tokens included; a small corpus gives fewer.
        max_length: longest text in tokens; longer ones are cut.

    Raises:
        ValueError: there are no captions.
    """
    captions = list(captions)
    if not captions:
        raise ValueError("captions is empty: a tokenizer learns from one caption or more")
    tokenizer = Tokenizer(WordPiece(unk_token="[UNK]"))
    # Exactly BERT's own pipeline: BertTokenizer builds it anew on loading, whatever was trained with.
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    # The trainer breaks ties by token id and numbers the inner letters in an order that changes from run to run;
    # declared beforehand, they have fixed numbers, and the same captions always give the same vocabulary.
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size, special_tokens=SPECIAL_TOKENS + _inner_letters(tokenizer, captions), show_progress=False
    )
    tokenizer.train_from_iterator(captions, trainer)
    return BertTokenizer(vocab=tokenizer.get_vocab(), do_lower_case=True, model_max_length=max_length)


def _inner_letters(tokenizer: Tokenizer, captions: list[str], most: int = 1000) -> list[str]:
    """The pieces of one letter inside a word, most frequent first."""
    counts: Counter[str] = Counter()
    for caption in captions:
        for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(caption)):
            counts.update(word[1:])
    ordered = sorted(counts, key=lambda letter: (-counts[letter], letter))
    return [f"##{letter}" for letter in ordered[:most]]
