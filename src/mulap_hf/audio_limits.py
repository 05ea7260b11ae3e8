"""What audio may be."""

LOUDEST = 100.0  # of a file: 40 dB above full scale; music that is mixed in floats may exceed 1, but not by so much
SHORTEST_SECONDS = 0.01  # of a file
