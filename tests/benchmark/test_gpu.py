"""The part for GPUs, here on the CPU."""

import json
import re

import pytest
import torch
from pictures import assert_shows_data
from torch import nn

from mulap_hf.benchmark import gpu


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gpu")
    text = gpu.run(folder, 1, ["tiny"], "cpu", compiled=False, chunks=2, clips=2, clip_seconds=6.0)
    for name in ("embedding", "training"):
        assert (folder / f"gpu-{name}-tiny.md").read_text() in text
        assert_shows_data(folder / f"gpu-{name}-tiny.png", 0.1)
        raw = json.loads((folder / f"gpu-{name}-tiny.json").read_text())["variants"]
        assert [row["name"] for row in raw] == ["float32", "tf32", "bfloat16"]
    return text


def errors(text, what):
    (sentence,) = re.findall(rf"{what} differ from those of the CPU in float32 by (.*) \(", text)
    return {name: float(error) for error, name in re.findall(r"(\S+) in (\w+)", sentence)}


@pytest.mark.parametrize("what", ["Embeddings", "Gradients"])
def test_errors_are_those_of_the_precision(text, what):
    found = errors(text, what)
    assert found["float32"] == 0 and found["tf32"] == 0  # on a CPU both are the reference
    assert 1e-4 < found["bfloat16"] < 0.3


def test_rates_are_compared_with_those_of_the_device(text):
    section = text.partition("fraction of a copy |\n")[2].partition("\n\n")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines()[1:]]
    assert [row[0] for row in rows] == ["float32", "tf32", "bfloat16"]
    for _, rate, of_product, _, of_copy in rows:
        percent, peak = re.fullmatch(r"(\d+)% of (\S+)", of_product).groups()
        assert float(rate) / float(peak) == pytest.approx(int(percent) / 100, abs=0.011 + 0.01 * int(percent) / 100)
        assert re.fullmatch(r"\d+% of [\d,]+", of_copy)


def test_traffic_counts_inputs_outputs_and_parameters():
    model = nn.Sequential(nn.Linear(10, 4), nn.ReLU())
    assert gpu.count_traffic(model, torch.zeros(3, 10)) == (30 + 12 + 44) + (12 + 12)


def test_tf32_is_set_back():
    before = torch.backends.cudnn.allow_tf32
    with pytest.raises(ZeroDivisionError), gpu.tf32(not before):
        assert torch.backends.cudnn.allow_tf32 != before
        _ = 1 / 0
    assert torch.backends.cudnn.allow_tf32 == before
