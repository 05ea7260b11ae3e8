"""The synthetic corpus: songs with exact labels and weak captions, generated from a seed.

The default renderer is a synthesizer in numpy and scipy. Soundfonts (SF2 or SF3 files) replace it
by sampled instruments, or are mixed with it.

* `make_clip` makes one clip, `make_note` one single note.
* `corpus_dataset` streams clips as a `datasets.IterableDataset`.
* `write_corpus`, `write_notes` and `write_parquet` write a split to disk; `python -m mulap_hf.synthetic --help` is
  their command line.
"""

from .captions import CaptionRates
from .generate import CORPUS_VERSION, SPLITS, CorpusConfig, make_clip
from .instruments import INSTRUMENT_LABELS, NOTE_FAMILIES
from .notes import make_note
from .stream import corpus_dataset
from .styles import STYLE_NAMES
from .tags import TAGS
from .write import write_corpus, write_notes, write_pretraining_corpus
from .write_shards import write_parquet

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
