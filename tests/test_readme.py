"""The README's snippet runs in a clone, offline, and prints what it says."""

import re

from helpers import ROOT, run


def test_snippet():
    snippet = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[1]
    result = run("-c", snippet, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == re.findall(r"# (torch\.Size\(.*?\))", snippet)
