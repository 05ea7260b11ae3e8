"""A synthetic music corpus: songs with known truth and weak captions, generated from a seed.

The numpy synthesizer needs nothing but numpy and scipy; with a soundfont, sampled instruments play. See `make_clip`
for single clips, `make_note` for single notes, `corpus_dataset` to stream clips, `write_corpus` and `write_parquet`
for a corpus on disk, and `python -m mulap_hf.synthetic --help`.
"""

from .captions import CaptionRates
from .generate import CORPUS_VERSION, SPLITS, CorpusConfig, make_clip
from .instruments import INSTRUMENT_LABELS, NOTE_FAMILIES
from .notes import make_note
from .stream import corpus_dataset
from .styles import STYLE_NAMES
from .tags import TAGS
from .write import write_corpus, write_notes, write_parquet, write_pretraining_corpus

__all__ = [
    "CORPUS_VERSION",
    "INSTRUMENT_LABELS",
    "NOTE_FAMILIES",
    "SPLITS",
    "STYLE_NAMES",
    "TAGS",
    "CaptionRates",
    "CorpusConfig",
    "corpus_dataset",
    "make_clip",
    "make_note",
    "write_corpus",
    "write_notes",
    "write_parquet",
    "write_pretraining_corpus",
]
