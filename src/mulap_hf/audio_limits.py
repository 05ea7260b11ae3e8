"""What audio may be."""

SLOWEST_RATE, FASTEST_RATE = 1000, 1_000_000  # Hz; the resampler's filter grows with the ratio, without end
LOUDEST = 100.0  # of a file: 40 dB above full scale; music that is mixed in floats may exceed 1, but not by so much
SHORTEST_SECONDS = 0.01  # of a file
