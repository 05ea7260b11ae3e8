import pytest

from mulap_hf.synthetic import CorpusConfig


@pytest.fixture
def config():
    """A corpus of short clips of 4 s."""
    return CorpusConfig(clip_seconds=4.0)
