"""Every corpus that can be prepared, by name: how it is read, where it comes from and under which license."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..schema import Reading
from .captioned import read_audiofolder, read_csv_table, read_mulap_json, read_musiccaps, read_song_describer
from .emomusic import read_emomusic
from .fma import read_fma
from .gtzan import read_gtzan
from .hub import read_hub
from .jamendo import SUBSETS, read_jamendo
from .magnatagatune import read_magnatagatune
from .nsynth import read_nsynth
from .synthetic import NOTE_TASK, SYNTHETIC_TASKS, read_synthetic, read_synthetic_notes
from .webdataset import read_webdataset

__all__ = ["CORPORA", "NOTE_TASK", "SYNTHETIC_TASKS", "Corpus", "Option"]


@dataclass(frozen=True)
class Option:
    """An option of a reader, as a command-line flag of the same name.

    Attributes:
        name: of the reader's argument.
        help: what it does.
        default: of the reader.
        choices: values that it takes, if only some.
        many: whether it takes several values.
    """

    name: str
    help: str
    default: Any = None
    choices: tuple = ()
    many: bool = False


@dataclass(frozen=True)
class Corpus:
    """A corpus that can be prepared.

    Attributes:
        name: on the command line.
        title: for humans.
        read: the reader, which takes the root of the corpus and its options.
        layout: what the root has to have in it.
        url: where the corpus comes from.
        license: identifier on the Hub; "other" where there are several, or none for the music.
        license_note: what the license is of.
        options: of the reader.
        local: whether the root is a path (and not a name on the Hub).
    """

    name: str
    title: str
    read: Callable[..., Reading]
    layout: str
    url: str | None = None
    license: str | None = None
    license_note: str = ""
    options: tuple[Option, ...] = ()
    local: bool = True


_AUDIO_DIR = Option("audio_dir", "folder of the audio, if it is not in one of the usual places below --root")
_CAPTION = Option("caption_column", "column of the captions (default: the first of caption, text, description)")
_KEEP = Option("keep_columns", "further columns to carry over as they are", default=(), many=True)
_SPLIT_DIR = Option("split_dir", "folder of the lists of the split, if not below --root")

_SYNTHESISED = "of what the numpy synthesizer plays; soundfonts have licenses of their own, and so has what they play"
CORPORA = {
    corpus.name: corpus
    for corpus in (
        Corpus(
            "audiofolder",
            "a folder of described audio",
            read_audiofolder,
            "metadata.jsonl or metadata.csv (file_name, caption), in it or in its folders train, validation and test",
            options=(_CAPTION, _KEEP),
        ),
        Corpus(
            "csv",
            "a table of described audio",
            read_csv_table,
            "a .csv or .tsv file (name of the audio file, caption), or a folder of such files named after splits",
            options=(
                _CAPTION,
                Option("file_column", "column of the audio files (default: the first of file_name, audio_path, ...)"),
                _KEEP,
                Option("audio_dir", "folder that the file names are relative to (default: that of the table)"),
            ),
        ),
        Corpus(
            "mulap_json",
            "the published MuLaP format",
            read_mulap_json,
            "a JSON list of {audio_id, caption, audio_path}, or a folder of such files named after splits; "
            "audio files or .npy waveforms (mono, float, 16 kHz)",
            options=(Option("audio_dir", "folder that audio_path is relative to (default: that of the JSON)"),),
        ),
        Corpus(
            "webdataset",
            "WebDataset tars",
            read_webdataset,
            ".tar files with audio of any format, and .txt or .json members with the caption",
            options=(_CAPTION,),
        ),
        Corpus(
            "hub",
            "a dataset of the Hub, or a folder of parquet files",
            read_hub,
            "an audio and a text column; --root is owner/name or a folder",
            options=(
                _CAPTION,
                Option("audio_column", "column of the audio", default="audio"),
                Option("id_column", "column of the ids (default: numbers)"),
                Option("config", "configuration of the dataset"),
                Option("revision", "branch, tag or commit"),
            ),
            local=False,
        ),
        Corpus(
            "musiccaps",
            "MusicCaps",
            read_musiccaps,
            "musiccaps-public.csv and the clips, named <ytid>.wav, [<ytid>]-[<start>-<end>].wav, <ytid>_<start>.wav, "
            "...",
            "https://huggingface.co/datasets/google/MusicCaps",
            "cc-by-sa-4.0",
            "of the captions; the clips are from YouTube",
            (_AUDIO_DIR,),
        ),
        Corpus(
            "song_describer",
            "the Song Describer dataset",
            read_song_describer,
            "song_describer.csv and audio/NN/<track>.2min.mp3",
            "https://doi.org/10.5281/zenodo.10072001",
            "cc-by-sa-4.0",
            "of the captions; every recording has a Creative Commons license of its own",
            (Option("subset", "all captions or the validated ones", "all", ("all", "valid")), _AUDIO_DIR),
        ),
        Corpus(
            "synthetic",
            "the corpus that mulap_hf.synthetic generates",
            read_synthetic,
            "the folder given to write_corpus: train/metadata.jsonl, train/audio/, ...",
            license="apache-2.0",
            license_note=_SYNTHESISED,
        ),
        Corpus(
            "synthetic_notes",
            "the single notes that mulap_hf.synthetic generates",
            read_synthetic_notes,
            "the folder given to write_notes: notes/train/metadata.jsonl, notes/train/audio/, ...",
            license="apache-2.0",
            license_note=_SYNTHESISED,
        ),
        Corpus(
            "magnatagatune",
            "MagnaTagATune",
            read_magnatagatune,
            "annotations_final.csv, the folders 0 to f, and the lists of the split (train.npy, valid.npy, test.npy)",
            "https://mirg.city.ac.uk/codeapps/the-magnatagatune-dataset",
            "cc-by-nc-sa-3.0",
            "",
            (
                Option(
                    "split_by",
                    "lists: published lists; tagged_folders: folders 0-b, c, d-f, clips with any of the 50 tags; "
                    "folders: all clips",
                    "lists",
                    ("lists", "tagged_folders", "folders"),
                ),
                _SPLIT_DIR,
                _AUDIO_DIR,
            ),
        ),
        Corpus(
            "jamendo",
            "MTG-Jamendo",
            read_jamendo,
            "data/splits/split-N/autotagging_<subset>-<split>.tsv and audio/00/1000.mp3 (or 1000.low.mp3)",
            "https://github.com/MTG/mtg-jamendo-dataset",
            "cc-by-nc-sa-4.0",
            "of the metadata; every recording has a Creative Commons license of its own",
            (
                Option("subset", "which tags", "top50", tuple(SUBSETS)),
                Option("split_number", "which of the five splits", 0, tuple(range(5))),
                _AUDIO_DIR,
            ),
        ),
        Corpus(
            "fma",
            "FMA-small",
            read_fma,
            "fma_metadata/tracks.csv and fma_small/000/000002.mp3",
            "https://github.com/mdeff/fma",
            "cc-by-4.0",
            "of the metadata; every recording has a license of its own",
            (_AUDIO_DIR,),
        ),
        Corpus(
            "nsynth",
            "NSynth",
            read_nsynth,
            "nsynth-train, nsynth-valid and nsynth-test, each with examples.json and audio/",
            "https://magenta.tensorflow.org/datasets/nsynth",
            "cc-by-4.0",
        ),
        Corpus(
            "emomusic",
            "EmoMusic",
            read_emomusic,
            "annotations/songs_info.csv, annotations/static_annotations.csv and clips_45seconds/<song_id>.mp3",
            "https://cvml.unige.ch/databases/emoMusic/",
            "other",
            "for research; given out on request",
            (_AUDIO_DIR,),
        ),
        Corpus(
            "gtzan",
            "GTZAN, fault-filtered",
            read_gtzan,
            "genres/blues/blues.00000.au (or .wav), and train_filtered.txt, valid_filtered.txt, test_filtered.txt",
            "https://github.com/jordipons/sklearn-audio-transfer-learning",
            "other",
            "the recordings were collected without their owners' permission; research only",
            (_SPLIT_DIR, _AUDIO_DIR),
        ),
    )
}
"""All of them, by name."""
