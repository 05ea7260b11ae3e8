"""What audio may be."""

LOUDEST = 100.0  # of a file: 40 dB above full scale; music that is mixed in floats may exceed 1, but not by so much
SHORTEST_SECONDS = 0.01  # of a file
# Names of files that libsndfile decodes, and of those that FFmpeg does. What counts is what is in a file; names only
# say which files in a folder are meant to be audio.
# fmt: off
AUDIO_EXTENSIONS = (
    ".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2", ".mp1", ".mpga", ".aif", ".aiff", ".aifc",
    ".caf", ".w64", ".rf64", ".au", ".snd", ".voc",
)
FFMPEG_EXTENSIONS = (
    ".m4a", ".m4b", ".m4p", ".m4r", ".mp4", ".aac", ".adts", ".ac3", ".amr", ".ape", ".dff", ".dsf", ".mka", ".mogg",
    ".mpc", ".ogx", ".spx", ".tak", ".tta", ".weba", ".webm", ".wma", ".wv",
)
# fmt: on
