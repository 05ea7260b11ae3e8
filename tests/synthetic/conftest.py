import pytest

from mulap_hf.synthetic import CorpusConfig


@pytest.fixture
def config():
    """Short clips: everything that is promised of long ones holds for them too."""
    return CorpusConfig(clip_seconds=4.0)
