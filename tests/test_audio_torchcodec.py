"""m4a and the like by torchcodec where PyAV is missing: the same samples; and one clear message without both.

torchcodec needs FFmpeg's libraries on the machine. Where it does not work, something that behaves as its decoder does
takes its place.
"""

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from audio_files import encode_with_ffmpeg, sweep

from mulap_hf import load_audio
from mulap_hf.errors import AudioError

RATE = 16000


class StandIn:
    """As `torchcodec.decoders.AudioDecoder`: ranges of time, whose samples begin at the frame before them."""

    def __init__(self, source):
        import av

        with av.open(source) as container:
            frames = [frame.to_ndarray() for frame in container.decode(audio=0)]
            rate = container.streams.audio[0].rate
        self.samples = torch.from_numpy(np.concatenate(frames, axis=1))
        self.metadata = SimpleNamespace(sample_rate=rate, num_channels=len(self.samples), begin_stream_seconds=0.0)

    def get_samples_played_in_range(self, start, stop):
        rate = self.metadata.sample_rate
        data = self.samples[:, round(start * rate) : round(stop * rate)]
        if not data.shape[1]:
            raise RuntimeError("No audio frames were decoded.")
        return SimpleNamespace(data=data, pts_seconds=start)


@pytest.fixture
def decoder(monkeypatch):
    """A torchcodec that works."""
    try:
        from torchcodec.decoders import AudioDecoder

        AudioDecoder(encode_with_ffmpeg(sweep(RATE, 1), RATE, "ipod", "aac"))
    except (ImportError, OSError, RuntimeError):
        for name in ("torchcodec", "torchcodec.decoders"):
            monkeypatch.setitem(sys.modules, name, ModuleType(name))
        sys.modules["torchcodec.decoders"].AudioDecoder = StandIn


@pytest.mark.parametrize(("format", "codec"), [("ipod", "aac"), ("asf", "wmav2"), ("mp4", "aac")])
def test_same_samples_as_by_pyav(format, codec, decoder, monkeypatch):
    content = encode_with_ffmpeg(sweep(44100, 23), 44100, format, codec)
    expected, part = load_audio(content), load_audio(content, offset=11.5, duration=2)
    find = __import__

    def without_av(name, *arguments, **options):
        if name == "av" and arguments and arguments[0].get("__name__", "").startswith("mulap_hf"):
            raise ImportError("No module named 'av'")
        return find(name, *arguments, **options)

    monkeypatch.setattr("builtins.__import__", without_av)
    found = load_audio(content)
    assert abs(len(found) - len(expected)) < RATE / 1000
    count = min(len(found), len(expected))
    np.testing.assert_allclose(found[:count], expected[:count], atol=1e-3)
    np.testing.assert_allclose(load_audio(content, offset=11.5, duration=2), part, atol=0.02)


def test_without_both(monkeypatch):
    content = encode_with_ffmpeg(sweep(RATE, 1), RATE, "ipod", "aac")
    for name in ("av", "torchcodec", "torchcodec.decoders"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(AudioError, match=r"needs FFmpeg: pip install .*formats"):
        load_audio(content)
