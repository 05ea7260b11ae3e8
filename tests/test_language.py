"""What people read is in plain English: words that only this project used stay out of it."""

import re

import pytest
from helpers import ROOT

READ = ("README.md", "src/**/*.py", "src/**/*.md", "training/**/*.py", "training/**/*.md", "model_cards/**/*.md")
READ += ("model_cards/**/*.py",)
# By what is wrong with it: a pattern, and what to write instead.
PRIVATE = {
    "hear, of a model": (r"\b(un|over)?hear(s|d|ing)?\b", "receives, encodes, uses; synthetic music is audible"),
    "learnt": (r"\blearnt\b", "learned, trained"),
    "is no X": (r"(?<!there )\b(is|are|was|were|be) no (?!longer\b|more\b)", "is not an X"),
    "no number": (r"\bno numbers?\b", "not finite, NaN or Inf"),
    "likeness": (r"\blikeness\b", "chunk-level contrastive loss, similarity"),
    "told apart": (r"\b(told|tells?|telling)\b[^.\n]{0,40}\bapart\b", "significantly different, distinguish"),
    "goes on": (r"\b(go(es|ing)?|went|gone) on\b", "resumes, continues"),
    "by itself": (r"\bby (itself|themselves)\b", "name who does it"),
    "of its own": (r"\bof (its|their|one's) own\b", "its own X"),
    "shared space": (r"\bshared space\b|\bspace shared\b", "joint embedding space"),
    "mend": (r"\bmend(s|ed|ing)?\b", "fix, correct"),
    "fault": (r"\bfaults?\b", "bug, error"),
    "embedded corpus": (r"\bembedded corp(us|ora)\b", "synthetic corpus"),
    "teach": (r"\btaught\b|\bteach(es)?\b", "trained on"),
    "share of data": (r"\bshares? of (the |all )?(data|corpus|clips|pairs|tokens|chunks|items|labels)\b", "fraction"),
    "judge": (r"\bjudge[ds]?\b", "evaluate"),
    "by lot": (r"\bby lot\b", "at random"),
    "British spelling": (
        r"\b(colour|behaviour|neighbour|normalis|initialis|licence|centre\b)\w*",
        "American spelling",
    ),
}
# Where a word has another meaning: file -> words that are left out before the search.
ALLOWED: dict[str, tuple[str, ...]] = {
    # A person listens.
    "model_cards/results/illustrations/illustrations.md": ("you can hear keys and drum beat",),
    "src/mulap_hf/synthetic/captions.py": ("You can hear {words.players}.",),
    "src/mulap_hf/synthetic/description_words.py": ("can be heard",),
    "src/mulap_hf/synthetic/descriptions.py": ("You can hear {players}",),
    # The published name of a split.
    "src/mulap_hf/data/corpora/__init__.py": ("fault-filtered",),
    "src/mulap_hf/data/corpora/gtzan.py": ("fault-filtered", "Fault-filtered"),
}

PATHS = sorted({str(path.relative_to(ROOT)) for pattern in READ for path in ROOT.glob(pattern)})


@pytest.mark.parametrize("path", PATHS)
def test_private_words(path):
    text = (ROOT / path).read_text()
    for phrase in ALLOWED.get(path, ()):
        assert phrase in text, f"{path} no longer needs its exception for {phrase!r}"
        text = text.replace(phrase, "")
    found = [
        f"{path}:{text.count(chr(10), 0, match.start()) + 1}: {match[0]!r} ({name}): write {instead}"
        for name, (pattern, instead) in PRIVATE.items()
        for match in re.finditer(pattern, text, re.IGNORECASE)
    ]
    assert not found, "\n".join(found)


def test_every_pattern_finds_its_word():
    examples = (
        "what the model hears; learnt; it is no music; a loss that is no number; likeness; not told apart; goes on; "
        "by itself; of its own; the shared space; mend; faults; embedded corpus; taught; share of the data; judged; "
        "by lot; colour"
    )
    assert [name for name, (pattern, _) in PRIVATE.items() if not re.search(pattern, examples)] == []


def test_length_of_the_readme():
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= 150
    assert [line for line in lines if len(line) > 119] == []
