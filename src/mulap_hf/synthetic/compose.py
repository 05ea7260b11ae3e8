"""Composition of a `Song` from a style and a random generator."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .affect import perceived_affect
from .arrangement import arrange, draw_noise, vary_instruments, vary_octaves
from .grooves import CRASH, GROOVES, QUIET_GROOVES, TRIPLE_GROOVES
from .instruments import HELD_OUT_DRUM_KITS, INSTRUMENTS
from .patterns import BASS_PATTERNS, COMPING_PATTERNS, Bar, Hit, drum_fill, drum_hits, plays_fill
from .solos import play_alone
from .song import Note, Section, Song, Track
from .styles import STYLE_NAMES, STYLES, Part, Style
from .theory import Chord, parse_progression, scale_pitch_classes, voice_chord

__all__ = ["compose"]

STRUMMED = frozenset({"acoustic guitar", "electric guitar", "harp", "banjo"})
BARS_PER_SECTION = 4
FORMS = ("AAAB", "AABA", "ABAB", "AABB")


@dataclass(frozen=True)
class Plan:
    """The decisions that concern a whole song: tempo, key, chords, dynamics and timbre."""

    style: str
    sources: Mapping[str, Style]  # part -> style that provides it (parts may be borrowed from another style)
    energy: float  # 0 to 1
    tempo: float
    beats: int
    swing: float
    mode: str
    tonic: int
    progression: str
    chords: Sequence[Chord]
    velocity: float
    register: float  # pitch shift in semitones
    brightness: float  # spectral tilt in dB
    articulation: float  # sounding fraction of the written length of a note
    timing: float  # standard deviation of note onsets in seconds
    num_bars: int
    section_intensity: np.ndarray
    rng: np.random.Generator

    @property
    def steps(self) -> int:
        return 4 * self.beats

    @property
    def bar_seconds(self) -> float:
        return self.beats * 60 / self.tempo

    def bar(self, index: int) -> Bar:
        return Bar(
            index=index,
            steps=self.steps,
            chord=self.chords[index % len(self.chords)],
            next_chord=self.chords[(index + 1) % len(self.chords)],
            tonic=self.tonic,
            tempo=self.tempo,
            energy=self.energy,
            rng=self.rng,
        )

    def intensity(self, bar: int) -> float:
        return self.section_intensity[bar // BARS_PER_SECTION]

    def active_sections(self, probability: float) -> np.ndarray:
        """Draw the sections in which a part plays: `(sections,)`, bool, with at least one True."""
        active = self.rng.random(len(self.section_intensity)) < probability
        if not active.any():
            active[0] = True
        return active

    def seconds(self, bar: int, step: float) -> float:
        """Return the time in seconds of a (fractional) sixteenth of a bar; swing delays the second half of a beat."""
        beat, within = divmod(step, 4)
        half = within / 2
        position = half * self.swing if half < 1 else self.swing + (half - 1) * (1 - self.swing)
        return bar * self.bar_seconds + (beat + position) * 60 / self.tempo

    def play(self, track: Track, bar: int, hit: Hit, velocity: float) -> None:
        """Add a hit with random timing, velocity and articulation to a track; ignore hits beyond the bar."""
        if hit.step >= self.steps:
            return
        start = self.seconds(bar, hit.step) + self.rng.normal(0, self.timing)
        length = hit.length * (1.0 if hit.legato or track.is_drums else self.articulation)
        end = start + max(0.04, length * 15 / self.tempo)
        touch = np.clip(velocity + hit.accent + self.rng.normal(0, 4), 8, 127)
        track.notes.append(Note(start, end, int(np.clip(hit.pitch, 0, 127)), int(touch)))


def choose(rng: np.random.Generator, weights: Mapping[str, float]) -> str:
    """Draw a key of a mapping with a probability proportional to its value."""
    values = np.array(list(weights.values()))
    return list(weights)[rng.choice(len(values), p=values / values.sum())]


def _make_plan(rng: np.random.Generator, style_name: str, duration: float, borrowing: float) -> Plan:
    """Draw everything that concerns the whole song.

    Two latent variables, weakly correlated with the style, shift tempo, loudness, mode, register and timbre. The
    arousal and valence labels are not these latents: `perceived_affect` computes them from the composed notes.
    """
    style = STYLES[style_name]
    other = STYLES[STYLE_NAMES[rng.integers(len(STYLE_NAMES))]]
    sources = {
        part: other if rng.random() < borrowing else style for part in ("drums", "bass", "comping", "lead", "harmony")
    }
    drive, mood = rng.normal(0, 0.48), rng.normal(0, 0.45)
    arousal = np.clip(0.4 * style.arousal + drive, -1, 1)
    valence = np.clip(0.5 * style.valence + mood, -1, 1)

    slowest, fastest = style.tempo
    tempo = float(slowest * (fastest / slowest) ** np.clip(0.5 + 0.65 * drive + rng.normal(0, 0.16), 0, 1))
    harmony = sources["harmony"]
    minor_logit = np.log(harmony.minor / (1 - harmony.minor)) - 4.5 * mood
    mode = "minor" if rng.random() < 1 / (1 + np.exp(-minor_logit)) else "major"
    progression = rng.choice(harmony.minor_progressions if mode == "minor" else harmony.major_progressions)
    beats = 3 if rng.random() < style.triple else 4
    energy = 0.5 + 0.5 * float(arousal)
    num_bars = int(np.ceil(duration * tempo / 60 / beats)) + 4
    timing = rng.uniform(0.002, 0.012) * (0.15 if rng.random() < style.quantized else 1.0)
    return Plan(
        style=style_name,
        sources=sources,
        energy=energy,
        tempo=tempo,
        beats=beats,
        swing=style.swing + rng.normal(0, 0.015) if style.swing > 0.5 else 0.5,
        mode=mode,
        tonic=int(rng.integers(12)),
        progression=str(progression),
        chords=parse_progression(progression),
        velocity=40 + 62 * energy,
        register=float(7 * valence + 2 * arousal + rng.normal(0, 1.5)),
        brightness=float(np.clip(4.5 * arousal + 3.5 * valence + rng.normal(0, 1.2), -9, 9)),
        articulation=float(np.clip(0.925 - 0.4 * energy - 0.075 * valence + rng.normal(0, 0.1), 0.35, 1)),
        timing=float(timing),
        num_bars=num_bars,
        section_intensity=np.clip(0.75 + rng.normal(0, 0.2, num_bars // BARS_PER_SECTION + 1), 0.35, 1),
        rng=rng,
    )


def _new_track(plan: Plan, role: str, instrument: str, gain: float, held_out_presets: bool) -> Track:
    """Return an empty track with a random preset of the instrument and a random mixing gain."""
    choice = INSTRUMENTS[instrument]
    programs = choice.held_out if held_out_presets and choice.held_out else choice.programs
    return Track(role, instrument, int(plan.rng.choice(programs)), gain * 10 ** (plan.rng.normal(0, 2.2) / 20))


def _play_drums(plan: Plan, held_out_presets: bool) -> tuple[str, list[Track]]:
    rng, source = plan.rng, plan.sources["drums"]
    probability = source.drums if source is STYLES[plan.style] else 0.8 * source.drums
    if rng.random() >= probability or (plan.energy < 0.2 and rng.random() < 0.35):
        return "none", []
    groove = choose(rng, source.grooves)
    kits = HELD_OUT_DRUM_KITS if held_out_presets else source.kits
    track = Track("drums", "drums", int(rng.choice(kits)), 10 ** (rng.normal(0, 2) / 20))
    grid = (GROOVES if plan.beats == 4 else TRIPLE_GROOVES)[groove]
    active = plan.active_sections(0.94)
    for index in range(plan.num_bars):
        if not active[index // BARS_PER_SECTION]:
            continue
        bar = plan.bar(index)
        fill = plays_fill(bar, groove)
        loudness = (0.6 + 0.4 * plan.intensity(index)) * (plan.velocity + 24)
        for strength, hit in drum_hits(bar, grid, fill):
            plan.play(track, index, hit, strength * loudness)
        if fill:
            for hit in drum_fill(bar):
                plan.play(track, index, hit, plan.velocity)
        if index % 4 == 0 and groove not in QUIET_GROOVES and rng.random() < 0.1 + 0.5 * plan.energy:
            plan.play(track, index, Hit(0, 4, CRASH), plan.velocity + 10)
    return groove, [track]


def _play_bass(plan: Plan, held_out_presets: bool) -> list[Track]:
    rng, part = plan.rng, plan.sources["bass"].bass
    if rng.random() >= part.probability:
        return []
    track = _new_track(plan, "bass", choose(rng, part.instruments), 1.0, held_out_presets)
    track.pattern = choose(rng, part.patterns)
    pattern = BASS_PATTERNS[track.pattern]
    for index in range(plan.num_bars):
        for hit in pattern(plan.bar(index)):
            plan.play(track, index, hit, 0.9 * plan.velocity + 12)
    return [track]


def power_chord(bar: Bar) -> list[int]:
    """Root, fifth and octave on the low strings of a guitar."""
    root = 40 + (bar.tonic + bar.chord.root - 4) % 12
    return [root, root + 7, root + 12]


def comping_center(instrument: str, pattern: str, register: float) -> int:
    if pattern == "sustained":
        return int(58 + register)
    return int((58 if instrument in STRUMMED else 60) + register)


def _play_comping(plan: Plan, part: Part, active: np.ndarray, held_out_presets: bool) -> Track:
    rng = plan.rng
    track = _new_track(plan, "comping", choose(rng, part.instruments), 0.75, held_out_presets)
    name = track.pattern = choose(rng, part.patterns)
    center = comping_center(track.instrument, name, plan.register)
    spread = 0.1 if track.instrument in STRUMMED else 0.0
    voicing: list[int] | None = None
    for index in range(plan.num_bars):
        bar = plan.bar(index)
        voicing = voice_chord(bar.chord, plan.tonic, center, voicing)
        if not active[index // BARS_PER_SECTION]:
            continue
        pitches = power_chord(bar) if track.instrument == "distorted guitar" else voicing
        for hit in COMPING_PATTERNS[name](bar, pitches, spread):
            plan.play(track, index, hit, plan.velocity * (0.72 + 0.12 * plan.intensity(index)))
    return track


def _play_all_comping(plan: Plan, held_out_presets: bool) -> list[Track]:
    tracks: list[Track] = []
    layering = float(np.clip(0.05 + 1.2 * plan.energy, 0.15, 1.2))  # energetic songs have more layers
    for part in plan.sources["comping"].comping:
        if plan.rng.random() < part.probability * (layering if tracks else 1.0):
            active = plan.active_sections(0.75 if tracks else 1.0)
            tracks.append(_play_comping(plan, part, active, held_out_presets))
    return tracks


def draw_motif(rng: np.random.Generator, steps: int, density: float) -> list[tuple[int, int, int]]:
    """Draw a two-bar motif: tuples of (start, length, melodic step in scale degrees); times are in sixteenths."""
    weights = np.array(
        [
            0.9 * density**2,
            1.4 * density,
            0.25,
            0.8,
            0.6 * (1 - density),
            1.2 * (1 - density) ** 2,
        ]
    )
    motif, start = [], 0
    while start < 2 * steps:
        length = int(rng.choice((1, 2, 3, 4, 6, 8), p=weights / weights.sum()))
        if rng.random() < 0.82:
            movement = int(rng.choice(range(-4, 5), p=(0.04, 0.06, 0.14, 0.22, 0.08, 0.22, 0.14, 0.06, 0.04)))
            motif.append((start, length, movement))
        start += length
    return motif


def _play_lead(plan: Plan, held_out_presets: bool) -> Track:
    """Compose a melody from two alternating two-bar motifs; notes on beats move to chord tones."""
    rng, part = plan.rng, plan.sources["lead"].lead
    track = _new_track(plan, "lead", choose(rng, part.instruments), 0.95, held_out_presets)
    density = float(np.clip(part.density * (0.55 + 0.7 * plan.energy), 0.08, 0.95))
    motifs = {name: draw_motif(rng, plan.steps, density) for name in "AB"}
    form = rng.choice(FORMS)
    active = plan.active_sections(0.75)
    scale = scale_pitch_classes(plan.tonic, choose(rng, STYLES[plan.style].scales[plan.mode]))
    low, high = INSTRUMENTS[track.instrument].lead_range
    center = (low + high) / 2 + 0.8 * plan.register
    ladder = [pitch for pitch in range(low, high + 1) if pitch % 12 in scale]
    degree = int(np.argmin([abs(pitch - center) for pitch in ladder]))
    for first_bar in range(0, plan.num_bars, 2):
        if not active[first_bar // BARS_PER_SECTION]:
            continue
        for start, length, movement in motifs[form[first_bar // 2 % 4]]:
            pull = -1 if ladder[degree] > center + 7 else 1 if ladder[degree] < center - 7 else 0
            degree = int(np.clip(degree + movement + pull, 0, len(ladder) - 1))
            bar, step = first_bar + start // plan.steps, start % plan.steps
            pitch = ladder[degree]
            if step % 4 == 0 and rng.random() < 0.75:
                tones = plan.bar(bar).chord.pitch_classes(plan.tonic)
                pitch = next((pitch + d for d in (0, 1, -1, 2, -2) if (pitch + d) % 12 in tones), pitch)
            hit = Hit(step, length * (0.92 + 0.05 / plan.articulation), pitch)
            plan.play(track, bar, hit, 0.85 * plan.velocity + 16)
    return track


def cut_window(tracks: list[Track], start: float, duration: float) -> list[Track]:
    """Cut a window out of the song. Drop tracks without notes in it, and drum tracks with fewer than three."""
    kept = []
    for track in tracks:
        track.notes = sorted(
            Note(max(note.start - start, 0.0), min(note.end - start, duration), note.pitch, note.velocity)
            for note in track.notes
            if note.end > start + 0.02 and note.start < start + duration - 0.03
        )
        if len(track.notes) >= (3 if track.is_drums else 1):
            kept.append(track)
    return kept


def compose(
    rng: np.random.Generator,
    style: str,
    duration: float,
    held_out_presets: bool = False,
    borrowing: float = 0.15,
    varied: bool = False,
    solos: float = 0.0,
) -> Song:
    """Compose one clip.

    Args:
        rng: Random generator of all draws.
        style: Name of a style in `styles.STYLES`.
        duration: Length of the clip in seconds. The clip starts at a random time in the first two bars.
        held_out_presets: Play the presets that occur only in the split `test_presets`.
        borrowing: Probability that a part (drums, bass, comping, lead, harmony) is borrowed from another style.
        varied: Vary instruments and octaves, and divide the song into sections, see `arrangement`.
        solos: Probability that a single instrument plays, see `solos`.
    """
    plan = _make_plan(rng, style, duration, borrowing)
    groove, tracks = _play_drums(plan, held_out_presets)
    tracks += _play_bass(plan, held_out_presets)
    comping = _play_all_comping(plan, held_out_presets)
    tracks += comping
    if not comping or rng.random() < plan.sources["lead"].lead.probability:
        tracks.append(_play_lead(plan, held_out_presets))
    start = rng.random() * 2 * plan.bar_seconds
    sections: tuple[Section, ...] = ()
    if solos and rng.random() < solos:
        beat_seconds, key = plan.bar_seconds / plan.beats, (plan.tonic, plan.mode)
        tracks = [play_alone(tracks, beat_seconds, start + duration, key, held_out_presets, rng)]
    elif varied:
        if not held_out_presets:
            vary_instruments(tracks, rng)
        vary_octaves(tracks, rng)
        sections = tuple(
            Section(kind, max(first - start, 0.0), min(end - start, duration))
            for kind, first, end in arrange(tracks, plan.bar_seconds, plan.num_bars, rng)
            if end > start and first < start + duration
        )
        if not held_out_presets:
            tracks += draw_noise(start + duration, rng)
    tracks = cut_window(tracks, start, duration)
    if tracks:
        arousal, valence = perceived_affect(tracks, duration, plan.tempo, plan.mode, plan.brightness, rng)
    else:
        arousal, valence = -1.0, 0.0  # a silent clip; `generate` composes another one
    return Song(
        tracks=tracks,
        duration=duration,
        style=style,
        tempo=plan.tempo,
        tonic=plan.tonic,
        mode=plan.mode,
        beats_per_bar=plan.beats,
        groove=groove if any(track.is_drums for track in tracks) else "none",
        progression=plan.progression,
        arousal=arousal,
        valence=valence,
        brightness=plan.brightness,
        sections=sections,
    )
