"""What people's audio files are like: every format, files that end early, headers that are wrong, joined files."""

import struct
import warnings

import numpy as np
import pytest
import soundfile as sf
from audio_files import RATES, correlation, encode, encode_with_ffmpeg, id3_with_cover, sweep, without_tag
from fuzz_audio import damaged, decode_in_child

from mulap_hf.audio import audio_seconds, load_audio
from mulap_hf.errors import AudioError

SECONDS = 6.0
# Raw formats have no header, and SD2 keeps its header in another file.
WRITABLE = sorted(
    (format, subtype)
    for format in set(sf.available_formats()) - {"RAW", "SD2"}
    for subtype in sf.available_subtypes(format)
    if sf.check_format(format, subtype)
)
LOSSY = ("VORBIS", "OPUS", "MPEG", "ADPCM", "GSM", "G72", "NMS", "DWVW", "LAW", "S8", "U8", "DPCM_8")


def rate_of(format: str, subtype: str) -> int:
    return RATES.get(subtype) or RATES.get(format) or 16000


def read(content: bytes) -> tuple[np.ndarray, list[str]]:
    """Samples at the file's own rate, and what is reported."""
    problems: list[str] = []
    return load_audio(content, None, report=problems.append), problems


def encoded(format: str, subtype: str | None = None, seconds: float = SECONDS) -> tuple[bytes, np.ndarray, int]:
    rate = rate_of(format, subtype or "")
    samples = sweep(rate, seconds)
    try:
        return encode(samples, rate, format, subtype), samples, rate
    except (sf.LibsndfileError, ValueError) as error:
        pytest.skip(f"libsndfile does not write it: {error}")


@pytest.mark.parametrize(("format", "subtype"), WRITABLE)
def test_every_format_is_read_to_its_end_and_its_cut_is_reported(format, subtype):
    content, expected, rate = encoded(format, subtype)
    try:
        samples, problems = read(content)
    except AudioError as error:
        assert "\n" not in str(error)
        return
    assert len(samples) == pytest.approx(len(expected), abs=0.1 * rate)
    if subtype != "DWVN" and "DWVW" not in subtype:
        assert correlation(samples, expected) > (0.9 if subtype.startswith(LOSSY) else 0.999)
    assert problems == []
    for part in (0.95, 0.5, 0.1):
        try:
            kept, problems = read(content[: int(len(content) * part)])
        except AudioError:
            continue  # nothing of it can be decoded, which is said
        assert np.isfinite(kept).all()
        assert len(kept) <= len(samples)
        if len(kept) < part * len(samples) - 0.3 * rate:
            assert problems, f"{part} of the file give {len(kept) / rate:.2f} s without a word"


def test_mp3_without_a_count_of_its_frames_is_read_to_its_end():
    rate = 44100
    mp3 = without_tag(encode(sweep(rate, 30.0), rate, "MP3", "MPEG_LAYER_III", bitrate_mode="VARIABLE"))
    samples, problems = read(mp3)
    assert len(samples) / rate == pytest.approx(30.0, abs=0.1)
    assert audio_seconds(mp3) == pytest.approx(30.0, abs=0.1)
    assert problems == []


def test_cover_art_is_not_audio():
    rate = 44100
    mp3 = id3_with_cover(300_000) + encode(sweep(rate, SECONDS), rate, "MP3", "MPEG_LAYER_III")
    samples, problems = read(mp3)
    assert len(samples) / rate == pytest.approx(SECONDS, abs=0.1)
    assert audio_seconds(mp3) == pytest.approx(SECONDS, abs=0.1)
    assert problems == []


@pytest.mark.parametrize(("format", "subtype"), [("WAV", "PCM_16"), ("OGG", "VORBIS"), ("FLAC", "PCM_16")])
def test_half_a_file_says_where_it_ends(format, subtype):
    content, _, rate = encoded(format, subtype)
    samples, problems = read(content[: len(content) // 2])
    assert 0.2 * SECONDS < len(samples) / rate < 0.8 * SECONDS
    assert len(problems) == 1
    assert ("it breaks off after" if format == "OGG" else "it ends early, after") in problems[0]


def test_half_a_file_warns_by_default(tmp_path):
    path = tmp_path / "half.wav"
    content, _, _ = encoded("WAV", "PCM_16")
    path.write_bytes(content[: len(content) // 2])
    with pytest.warns(UserWarning, match=r"half.wav: .*ends early, after 3\.\d+ s of the 6\.00 s"):
        load_audio(path)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
def test_a_wav_whose_size_was_never_written_is_read(size):
    content, expected, _ = encoded("WAV", "PCM_16")
    place = content.index(b"data") + 4
    broken = content[:4] + struct.pack("<I", size) + content[8:place] + struct.pack("<I", size) + content[place + 4 :]
    assert len(read(broken)[0]) == len(expected)


@pytest.mark.parametrize(("format", "subtype"), [("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III")])
def test_joined_files_are_read_on(format, subtype):
    rate = 44100
    one, two = (encode(sweep(rate, seconds), rate, format, subtype) for seconds in (3.0, 5.0))
    samples, problems = read(one + two)
    assert len(samples) / rate == pytest.approx(8.0, abs=0.2) or problems
    assert audio_seconds(one + two) == pytest.approx(8.0, abs=0.2)


def test_a_change_of_rate_is_read_or_reported():
    first = encode(sweep(44100, 3.0), 44100, "MP3", "MPEG_LAYER_III")
    second = encode(sweep(22050, 3.0), 22050, "MP3", "MPEG_LAYER_III")
    problems: list[str] = []
    try:
        samples = load_audio(first + second, 16000, report=problems.append)
    except AudioError as error:
        assert " s" in str(error)  # the position
    else:
        assert len(samples) / 16000 == pytest.approx(6.0, abs=0.2) or problems


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.array([0.1] * 8000 + [np.nan] + [0.1] * 8000), r"the sample at 0\.500 s is NaN"),
        (np.full(16000, 1e30), "samples reach 1e\\+30|full scale"),
        (np.full(16000, 9000.0), "integers of 16 bits saved as floats"),
        (np.array([0.1]), "0.062 ms"),
    ],
)
def test_samples_that_give_no_finite_embedding_are_refused(tmp_path, samples, message):
    path = tmp_path / "odd.wav"
    sf.write(path, samples.astype(np.float32), 16000, subtype="FLOAT")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # numpy's overflow among them
        with pytest.raises(AudioError, match=message) as caught:
            load_audio(path)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("format", "codec"), [("mp4", "aac"), ("adts", "aac"), ("asf", "wmav2"), ("webm", "libopus"), ("matroska", "flac")]
)
def test_formats_of_the_second_decoder(format, codec):
    pytest.importorskip("av")
    rate = 48000
    expected = sweep(rate, SECONDS)
    samples, problems = read(encode_with_ffmpeg(expected, rate, format, codec))
    assert len(samples) / rate == pytest.approx(SECONDS, abs=0.2)
    assert correlation(samples, expected, 6000) > 0.9
    assert problems == []


def test_damaged_files_give_samples_or_one_error(tmp_path):
    """The first 150 of those that `python tests/fuzz_audio.py` decodes."""
    paths = []
    for name, content in damaged(150, seed=0):
        paths.append(tmp_path / name)
        paths[-1].write_bytes(content)
    outcomes = list(decode_in_child(paths))
    assert [f"{path.name}: {problem}" for path, _, problem, _, _ in outcomes if problem] == []
    assert len(outcomes) == 150
    assert {outcome for _, outcome, *_ in outcomes} >= {"decoded", "refused"}
