"""An embedded music corpus: songs with known truth and weak captions, generated from a seed.

The numpy synthesiser needs nothing but numpy and scipy; with a soundfont, sampled instruments play. See `make_clip`
for single clips and `write_corpus` for a corpus on disk.
"""

from .captions import CaptionRates
from .generate import CORPUS_VERSION, SPLITS, CorpusConfig, make_clip
from .styles import STYLE_NAMES
from .tags import TAGS
from .write import write_corpus

__all__ = [
    "CORPUS_VERSION",
    "SPLITS",
    "STYLE_NAMES",
    "TAGS",
    "CaptionRates",
    "CorpusConfig",
    "make_clip",
    "write_corpus",
]
