"""Several renderers for one song: each track is played by the synthesizer or by one of the soundfonts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .render import SAMPLING_RATE, Renderer, to_corpus_rate
from .song import Track

__all__ = ["Ensemble", "Players"]

_MAIN_PLAYER = 0.6  # fraction of the tracks that the main renderer of a song plays; the others are drawn anew


class Ensemble:
    """A `Renderer` for one song, which plays each track with a renderer chosen for it.

    Attributes:
        players: One renderer per track.
        name: Names of the renderers, joined by "+".
        sampling_rate: 16,000 Hz.
    """

    sampling_rate = SAMPLING_RATE

    def __init__(self, players: Sequence[Renderer]):
        self.players = list(players)
        self.name = "+".join(sorted({player.name for player in players}))

    def stems(self, tracks: list[Track], duration: float, rng: np.random.Generator) -> np.ndarray:
        """See `Renderer.stems`; `tracks` are those of the song, in the order of `players`."""
        stems = np.zeros((len(tracks), round(duration * SAMPLING_RATE)), dtype=np.float32)
        for stem, track, player in zip(stems, tracks, self.players, strict=True):
            stem[:] = to_corpus_rate(player.stems([track], duration, rng)[0], player.sampling_rate)
        return stems

    def can_play(self, track: Track) -> bool:
        """See `Renderer.can_play`."""
        return any(player.can_play(track) for player in self.players)


@dataclass(frozen=True)
class Players:
    """The renderers of a split, and the probability that each of them plays a track."""

    renderers: tuple[Renderer, ...]
    probabilities: tuple[float, ...]

    def for_tracks(self, tracks: Sequence[Track], rng: np.random.Generator) -> Renderer:
        """Return the renderer of a song.

        A single renderer plays everything. Of several, one is drawn as the main renderer of the song, and plays 60 %
        of its tracks on average; the renderer of each other track is drawn anew. A renderer without the preset of a
        track is replaced by one that has it.

        Args:
            tracks: Tracks of the song.
            rng: Random generator of the choice; a single renderer draws nothing from it.
        """
        if len(self.renderers) == 1:
            return self.renderers[0]
        main = self._draw(rng, self.renderers)
        players = []
        for track in tracks:
            player = main if rng.random() < _MAIN_PLAYER else self._draw(rng, self.renderers)
            able = [renderer for renderer in self.renderers if renderer.can_play(track)]
            players.append(player if player in able or not able else self._draw(rng, able))
        return Ensemble(players)

    def _draw(self, rng: np.random.Generator, among: Sequence[Renderer]) -> Renderer:
        weights = np.array([self.probabilities[self.renderers.index(renderer)] for renderer in among])
        chosen = rng.choice(len(among), p=weights / weights.sum() if weights.any() else None)
        return among[int(chosen)]
