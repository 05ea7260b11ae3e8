"""What is imported when: MuLaP is known to transformers in any order, and nothing loads torch before it is needed."""

import re

import pytest
from helpers import ROOT, run

import mulap_hf

FINDS_MULAP = """
import sys
from transformers import AutoConfig, AutoModelForPreTraining, AutoProcessor
from transformers.pipelines import PIPELINE_REGISTRY
folder = sys.argv[1]
assert type(AutoModelForPreTraining.from_pretrained(folder)).__name__ == "MulapForPreTraining"
assert type(AutoProcessor.from_pretrained(folder)).__name__ == "MulapProcessor"
assert "text-music-retrieval" in PIPELINE_REGISTRY.supported_tasks
config = AutoConfig.from_pretrained(folder)
import mulap_hf
assert type(config) is mulap_hf.MulapConfig and config.is_remote_code()  # so that it is saved with its code
assert not [finder for finder in sys.meta_path if type(finder).__module__ == "mulap_hf.registration"]
"""


@pytest.mark.parametrize(
    "start",
    [
        "import mulap_hf, sys; assert not {'torch', 'transformers'} & {*sys.modules}",
        "import transformers.pipelines; import mulap_hf",  # the other way round
        "import mulap_hf.modeling_mulap_audio",  # which imports the Auto classes before it is complete
    ],
)
def test_auto_classes_know_mulap(start):
    result = run("-c", f"{start}\n{FINDS_MULAP}", ROOT / "model_cards" / "mulap-tiny")
    assert result.returncode == 0, result.stderr


def test_public_names():
    source = (ROOT / "src" / "mulap_hf" / "__init__.py").read_text()
    for_type_checkers = re.findall(r"^    from \.\w+ import (\w+) as \1$", source, re.MULTILINE)
    assert mulap_hf.__all__ == sorted(for_type_checkers)
    assert set(mulap_hf.__all__) <= set(dir(mulap_hf))
    for name in mulap_hf.__all__:
        assert getattr(mulap_hf, name).__name__ == name
    with pytest.raises(AttributeError, match="module 'mulap_hf' has no attribute 'MulapTokenizer'"):
        _ = mulap_hf.MulapTokenizer
