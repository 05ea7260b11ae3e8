"""What is imported when: MuLaP is known to transformers in any order, and nothing loads torch before it is needed."""

import re

import pytest
from helpers import ROOT, run_fresh

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
    result = run_fresh("-c", f"{start}\n{FINDS_MULAP}", ROOT / "model_cards" / "mulap-tiny")
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


STARTS = """
import contextlib, io, runpy, sys
from pathlib import Path
import mulap_hf.cli
starts = [lambda path=path: runpy.run_path(str(path), run_name="__main__") for path in Path(sys.argv[1]).rglob("*.py")]
for name in ("mulap_hf.synthetic", "mulap_hf.transfer.corpus_probe"):
    starts.append(lambda name=name: runpy.run_module(name, run_name="__main__"))
starts.append(mulap_hf.cli.main)
for start in starts:
    for arguments, status in ((["--help"], 0), (["--nonsense"], 2)):
        sys.argv[1:] = arguments
        output = io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            try:
                start()
            except SystemExit as end:
                assert end.code == status, (output.getvalue(), end.code)
        assert "usage: " in output.getvalue()
        assert not {"torch", "transformers", "datasets", "accelerate", "scipy.signal", "matplotlib"} & {*sys.modules}
print(len(starts))
"""


def test_help_and_mistakes_import_nothing_heavy():
    result = run_fresh("-c", STARTS, ROOT / "training")
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) == len(list((ROOT / "training").rglob("*.py"))) + 3
