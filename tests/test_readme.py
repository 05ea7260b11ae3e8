"""The README's snippet runs, and prints what it says."""

import re

from conftest import ROOT, run, write_tone

from mulap_hf import MulapConfig, MulapForPreTraining


def test_snippet(processor, tmp_path):
    config = MulapConfig.from_preset("tiny", text_config={"vocab_size": len(processor.tokenizer)})
    MulapForPreTraining(config).save_pretrained(tmp_path / "outputs" / "pretrained")
    processor.save_pretrained(tmp_path / "outputs" / "pretrained")
    write_tone(tmp_path / "song.mp3", seconds=29, rate=44100, channels=2)
    snippet = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[1]
    result = run("-c", snippet, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == re.findall(r"# (torch\.Size\(.*?\))", snippet)
