"""Each stage of the varied production chain, measured in the audio."""

import json
from dataclasses import replace

import numpy as np
import pyarrow.parquet
import pytest
import scipy

from mulap_hf.errors import MulapError
from mulap_hf.synthetic import CorpusConfig, make_clip, make_note, write_parquet
from mulap_hf.synthetic.production import (
    RECORDINGS,
    ROOMS,
    SATURATIONS,
    compressor_gain,
    draw_production,
    encode_and_decode,
    produce,
    room_response,
)
from mulap_hf.synthetic.song import Track

RATE = 16_000
NEUTRAL = draw_production(np.random.default_rng(0), 0.0)
TIME = np.arange(2 * RATE) / RATE
TONE = np.sin(2 * np.pi * 440 * TIME).astype(np.float32)
NOISE = np.random.default_rng(1).standard_normal(2 * RATE).astype(np.float32)


def finished(sound, **settings):
    """A bass track (which stays in the middle) through the chain, without the settings that are not given."""
    tracks = [Track("bass", "electric bass", 33)]
    return produce(sound[None], tracks, replace(NEUTRAL, **settings), 0.0, np.random.default_rng(0))


def level(audio):
    return 10 * np.log10(np.mean(audio**2))


def power(audio, low, high):
    """The power between two frequencies in dB, relative to the whole."""
    spectrum = np.abs(np.fft.rfft(audio * np.hanning(len(audio)))) ** 2
    frequencies = np.fft.rfftfreq(len(audio), 1 / RATE)
    return 10 * np.log10(spectrum[(frequencies >= low) & (frequencies < high)].sum() / spectrum.sum())


def test_a_neutral_chain_sets_the_level_only():
    assert level(finished(TONE)) == pytest.approx(-20, abs=0.1)
    assert level(finished(TONE, level=-12.0)) == pytest.approx(-12, abs=0.1)
    assert np.corrcoef(finished(TONE), TONE)[0, 1] > 0.98


@pytest.mark.parametrize("snr", [12.0, 30.0])
def test_hiss_and_hum_have_their_level(snr):
    hiss = finished(TONE, hiss=snr, hiss_color=4000.0)
    # The hiss of the two channels is independent: their sum is 3 dB quieter.
    assert 10 ** (power(hiss, 500, 8000) / 10) == pytest.approx(10 ** (-(snr + 3) / 10), rel=0.25)
    hum = finished(TONE, hum=snr, hum_frequency=50.0)
    others = sum(10 ** (power(hum, low, low + 20) / 10) for low in range(40, 440, 50))
    assert others == pytest.approx(10 ** (-snr / 10), rel=0.2)


def test_band_limits_and_equalizers_shape_the_spectrum():
    plain = finished(NOISE)
    assert power(finished(NOISE, low_pass=2000.0), 4000, 8000) < power(plain, 4000, 8000) - 12
    assert power(finished(NOISE, high_pass=400.0), 0, 200) < power(plain, 0, 200) - 8
    peak = finished(NOISE, low_peak=(500.0, 12.0, 1.0))
    assert power(peak, 450, 550) > power(plain, 450, 550) + 5
    assert power(finished(NOISE, high_shelf=(3000.0, -12.0)), 6000, 8000) < power(plain, 6000, 8000) - 6


@pytest.mark.parametrize("saturation", SATURATIONS)
def test_saturation_adds_harmonics(saturation):
    drive = 5.0 if saturation == "bits" else 10.0
    distorted = finished(TONE, saturation=saturation, drive=drive)
    assert power(finished(TONE), 600, 8000) < -50
    assert power(distorted, 600, 8000) > -35
    assert (power(distorted, 860, 900) > -30) == (saturation == "tube")  # even harmonics


def test_the_compressor_reduces_the_difference_of_loud_and_quiet():
    sound = np.concatenate([0.1 * TONE, TONE])

    def difference(**settings):
        halves = finished(sound, **settings).reshape(2, -1)[:, RATE:]
        return level(halves[1]) - level(halves[0])

    assert difference() == pytest.approx(20, abs=0.5)
    assert difference(ratio=4.0, threshold=-12.0, release=0.1) == pytest.approx(20 - 0.75 * 14.8, abs=3)
    settings = replace(NEUTRAL, ratio=4.0, threshold=-10.0, release=0.1)
    assert compressor_gain(np.full(2000, 2.0), settings)[-1] == pytest.approx(-9)  # 12 dB above become 3 dB


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_decays_in_its_reverberation_time(room):
    seconds = ROOMS[room][1]
    settings = replace(NEUTRAL, room=room, room_time=seconds, room_level=-6.0, room_color=3000.0)
    response = room_response(settings, np.random.default_rng(3))
    energy = 10 * np.log10(np.cumsum(response[0, ::-1] ** 2)[::-1] + 1e-12)  # Schroeder integration
    at = [np.argmax(energy < energy[0] - drop) / RATE for drop in (15, 35)]
    assert 3 * (at[1] - at[0]) == pytest.approx(seconds, rel=0.35)
    assert abs(np.corrcoef(response)[0, 1]) < 0.2
    burst = np.where(TIME < 0.2, NOISE, 0).astype(np.float32)
    after = slice(int(0.25 * RATE), int(0.35 * RATE))
    assert level(finished(burst)[after]) < -60 < level(finished(burst, **_room_of(settings))[after])


def _room_of(settings):
    return {name: getattr(settings, name) for name in ("room", "room_time", "room_level", "room_color")}


def test_stereo_positions_and_doubling_change_the_mono_mix():
    """One channel alone has other track levels than the sum; a doubled track has the notches of a comb filter."""
    tracks = [Track("lead", "piano", 0), Track("comping", "organ", 16)]
    stems = np.stack([TONE, np.sin(2 * np.pi * 1000 * TIME).astype(np.float32)])

    def balance(**settings):
        audio = produce(stems, tracks, replace(NEUTRAL, **settings), 0.0, np.random.default_rng(5))
        return power(audio, 420, 460) - power(audio, 980, 1020)

    assert abs(balance(width=1.0, downmix="left") - balance(width=0.0, downmix="left")) > 3
    notches = []
    for seed in range(12):
        tracks = [Track("lead", "piano", 0)]
        settings = replace(NEUTRAL, doubling=0.02)
        audio = produce(NOISE[None], tracks, settings, 0.0, np.random.default_rng(seed))
        _, spectrum = scipy.signal.welch(audio, RATE, nperseg=4096)
        notches.append(np.ptp(10 * np.log10(spectrum[200:400])))
    assert 0 < np.sum(np.array(notches) > 15) < 12


@pytest.mark.parametrize("codec", ["mp3", "vorbis"])
@pytest.mark.parametrize("seconds", [1, 2.5])
def test_codecs_keep_length_and_time_and_lose_more_at_low_quality(codec, seconds):
    audio = np.tile(0.1 * NOISE + 0.05 * TONE, 2)[: int(seconds * RATE)]
    errors = []
    for quality in (0.6, 0.07):
        decoded = encode_and_decode(audio, codec, quality)
        assert decoded.shape == audio.shape and decoded.dtype == np.float32
        lags = scipy.signal.correlate(decoded, audio, "same")
        assert abs(np.argmax(lags) - len(audio) // 2) <= 2
        errors.append(np.mean((np.abs(np.fft.rfft(decoded)) - np.abs(np.fft.rfft(audio))) ** 2))
    assert errors[1] > 1.5 * errors[0] > 0


def test_recordings_differ_as_their_names_say():
    rng = np.random.default_rng(0)
    drawn = [draw_production(rng, 1.0) for _ in range(600)]
    kinds = {name: [settings for settings in drawn if settings.recording == name] for name in RECORDINGS}
    for name, recording in RECORDINGS.items():
        assert len(kinds[name]) / 600 == pytest.approx(recording.probability, abs=0.06)
    noisy = {name: np.mean([settings.hiss is not None for settings in kinds[name]]) for name in kinds}
    assert noisy["studio"] < 0.2 < noisy["home"] < 0.7 < noisy["lo-fi"]
    assert {settings.codec for settings in drawn} == {None, "mp3", "vorbis"}
    assert {settings.room for settings in drawn} == {None, *ROOMS}


def test_varied_clips_are_reproducible_within_range_and_not_silent():
    config = CorpusConfig(clip_seconds=3.0, production="varied")
    for index in range(12):
        clip, again = make_clip(config, "train", index), make_clip(config, "train", index)
        audio = clip["audio"]
        assert audio.tobytes() == again["audio"].tobytes()
        assert audio.shape == (3 * RATE,) and audio.dtype == np.float32 and np.abs(audio).max() <= 1
        assert -35 < level(audio) < -6
        assert abs(level(audio) - clip["effects"]["level"]) < 2.5
    note = make_note(config, "train", 0)
    assert note["effects"]["recording"] in RECORDINGS and level(note["audio"]) > -45


def test_the_production_does_not_change_the_song():
    plain = CorpusConfig(clip_seconds=3.0)
    for index in range(3):
        clips = [make_clip(replace(plain, production=name), "train", index) for name in ("plain", "varied")]
        assert not np.array_equal(clips[0].pop("audio"), clips[1].pop("audio"))
        assert clips[0].pop("effects").keys() != clips[1].pop("effects").keys()
        assert clips[0] == clips[1]


def test_parquet_has_the_settings_of_the_chain(tmp_path):
    config = CorpusConfig(clip_seconds=2.0, production="varied")
    (path,) = write_parquet(config, "test", 2, tmp_path, num_workers=1, progress=False)
    for index, row in enumerate(pyarrow.parquet.read_table(path).to_pylist()):
        assert row["effects"] == json.loads(json.dumps(make_clip(config, "test", index)["effects"]))


def test_an_unknown_production_is_refused():
    with pytest.raises(MulapError, match="unknown production 'loud'; choose one of plain, varied"):
        CorpusConfig(production="loud")
