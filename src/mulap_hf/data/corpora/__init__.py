"""Every corpus that can be prepared, by name: how it is read, where it comes from and under which license."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..schema import Reading

__all__ = ["CORPORA", "Corpus", "Option"]


@dataclass(frozen=True)
class Option:
    """An option of a reader, as a command-line flag of the same name.

    Attributes:
        name: of the reader's argument.
        help: what it does.
        default: of the reader.
        choices: values that it takes, if only some.
        many: whether it takes several values.
        type: of a value, if there are no choices.
    """

    name: str
    help: str
    default: Any = None
    choices: tuple = ()
    many: bool = False
    type: type = str


@dataclass(frozen=True)
class Corpus:
    """A corpus that can be prepared.

    Attributes:
        name: on the command line.
        title: for humans.
        reader: function that takes the root of the corpus and its options; or where it is in this package
            ("gtzan:read_gtzan"), so that it is imported only when it is used.
        layout: what the root has to have in it.
        url: where the corpus comes from.
        license: identifier on the Hub; "other" where there are several, or none for the music.
        license_note: what the license is of.
        options: of the reader.
        local: whether the root is a path (and not a name on the Hub).
    """

    name: str
    title: str
    reader: "str | Callable[..., Reading]"
    layout: str
    url: str | None = None
    license: str | None = None
    license_note: str = ""
    options: tuple[Option, ...] = ()
    local: bool = True

    @property
    def read(self) -> "Callable[..., Reading]":
        """The reader."""
        if not isinstance(self.reader, str):
            return self.reader
        module, _, function = self.reader.partition(":")
        return getattr(import_module(f"{__name__}.{module}"), function)


_AUDIO_DIR = Option("audio_dir", "folder of the audio, if it is not in one of the usual places below --root")
_SPLIT_DIR = Option("split_dir", "folder of the lists of the split, if not below --root")
_CAPTIONS = (
    Option("caption_column", "column of the captions (default: the first of caption, text, description)"),
    Option("caption", "captions composed of columns, as '{title}. {genre}, {bpm} bpm.'; empty parts are left out"),
)
_TABLE = (
    Option("file_column", "column of the audio files (default: the first usual one), or '{folder}/{name}.wav'"),
    *_CAPTIONS,
    Option("split_column", "column of the splits (default: split, if there is one; none: all is train)"),
    Option("keep_columns", "further columns to carry over as they are", default=(), many=True),
    Option("audio_dir", "folder that the file names are relative to (default: that of the table)"),
    Option("delimiter", "between the cells of a text file: a character, or tab (default: detected)"),
    Option("encoding", "of a text file (default: detected)"),
    Option("sheet", "of an XLSX file (default: the first that has rows)"),
)
_LABELS = (
    Option(
        "label_columns", "columns of a class or of tags, each a task (default: the first usual one)", (), many=True
    ),
    Option("tag_columns", "columns of a tag each, with 0 and 1 or a score; first..last is a range", (), many=True),
    Option("value_columns", "columns of numbers to predict", (), many=True),
    Option(
        "kind", "of --label_columns (default: tags if any cell has several)", None, ("single_label", "multi_label")
    ),
    Option("separator", "of tags in a cell (default: detected)"),
    Option("threshold", "smallest score of a tag that is there", 0.5, type=float),
    Option("score_column", "score of the label of a row, where a table has a row per label"),
    Option("min_count", "leave out labels of fewer recordings (default: 3 if splits are drawn, else 1)", type=int),
    Option("tables", "tables below --root, if several; named after splits, or one", (), many=True),
    Option("split_lists", "folder of lists of names in files that are named after splits"),
    Option("test_folds", "folds of --split_column to test on (default: the last)", (), many=True),
    Option("validation_folds", "folds of --split_column to validate on (default: the last other one)", (), many=True),
    Option("group_column", "column of what must not be in two splits that are drawn, such as the artist"),
    Option("group_pattern", "regular expression that finds such a thing in names of files, in its first group"),
    Option("test_fraction", "of what is drawn", 0.1, type=float),
    Option("validation_fraction", "of what is drawn", 0.1, type=float),
    Option("seed", "of what is drawn", 0, type=int),
    Option("audio_column", "column of the audio of a dataset", "audio"),
    Option("config", "configuration of a dataset of the Hub"),
)

_SYNTHESISED = "of audio from the numpy synthesizer; soundfonts and the audio that they play have other licenses"
CORPORA = {
    corpus.name: corpus
    for corpus in (
        Corpus(
            "audiofolder",
            "a folder of described audio",
            "catalog:read_catalog",
            "metadata.csv or .jsonl or .xlsx (file_name, caption), in it or in its folders train, validation and test",
            options=_TABLE,
        ),
        Corpus(
            "csv",
            "a table of described audio",
            "catalog:read_catalog",
            "a table (.csv, .tsv, .txt, .jsonl, .json, .xlsx or .parquet: name of the audio file, caption), or a "
            "folder of tables named after splits",
            options=_TABLE,
        ),
        Corpus(
            "labeled",
            "labeled audio",
            "labeled:read_labeled",
            "folders of classes (root/class/*.wav or root/train/class/*.wav), a table with a column of files and of "
            "labels, or a dataset with labels",
            options=(*_LABELS, *_TABLE),
            local=False,
        ),
        Corpus(
            "mulap_json",
            "the published MuLaP format",
            "catalog:read_catalog",
            "a JSON list of {audio_id, caption, audio_path}, or a folder of such files named after splits; "
            "audio files or .npy waveforms (mono, float, 16 kHz)",
            options=(Option("audio_dir", "folder that audio_path is relative to (default: that of the JSON)"),),
        ),
        Corpus(
            "webdataset",
            "WebDataset tars",
            "webdataset:read_webdataset",
            ".tar or .tar.gz files with audio of any format, and .txt or .json members with the caption",
            options=_CAPTIONS,
        ),
        Corpus(
            "hub",
            "a dataset of the Hub, or a folder of parquet files",
            "hub:read_hub",
            "an audio and a text column; --root is owner/name or a folder",
            options=(
                *_CAPTIONS,
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
            "musiccaps:read_musiccaps",
            "musiccaps-public.csv and the clips, named <ytid>.wav, [<ytid>]-[<start>-<end>].wav, <ytid>_<start>.wav, "
            "<title> [<ytid>].m4a, ..., or the whole videos",
            "https://huggingface.co/datasets/google/MusicCaps",
            "cc-by-sa-4.0",
            "of the captions; the clips are from YouTube",
            (_AUDIO_DIR,),
        ),
        Corpus(
            "song_describer",
            "the Song Describer dataset",
            "song_describer:read_song_describer",
            "song_describer.csv and audio/NN/<track>.2min.mp3",
            "https://doi.org/10.5281/zenodo.10072001",
            "cc-by-sa-4.0",
            "of the captions; each recording has its own Creative Commons license",
            (Option("subset", "all captions or the validated ones", "all", ("all", "valid")), _AUDIO_DIR),
        ),
        Corpus(
            "synthetic",
            "the corpus that mulap_hf.synthetic generates",
            "synthetic:read_synthetic",
            "the folder given to write_corpus: train/metadata.jsonl, train/audio/, ...",
            license="apache-2.0",
            license_note=_SYNTHESISED,
        ),
        Corpus(
            "synthetic_notes",
            "the single notes that mulap_hf.synthetic generates",
            "synthetic:read_synthetic_notes",
            "the folder given to write_notes: notes/train/metadata.jsonl, notes/train/audio/, ...",
            license="apache-2.0",
            license_note=_SYNTHESISED,
        ),
        Corpus(
            "magnatagatune",
            "MagnaTagATune",
            "magnatagatune:read_magnatagatune",
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
            "jamendo:read_jamendo",
            "data/splits/split-N/autotagging_<subset>-<split>.tsv and audio/00/1000.mp3 (or 1000.low.mp3)",
            "https://github.com/MTG/mtg-jamendo-dataset",
            "cc-by-nc-sa-4.0",
            "of the metadata; each recording has its own Creative Commons license",
            (
                Option("subset", "which tags", "top50", ("top50", "genre", "instrument", "moodtheme", "all")),
                Option("split_number", "which of the five splits", 0, tuple(range(5))),
                _AUDIO_DIR,
            ),
        ),
        Corpus(
            "fma",
            "FMA-small",
            "fma:read_fma",
            "fma_metadata/tracks.csv and fma_small/000/000002.mp3",
            "https://github.com/mdeff/fma",
            "cc-by-4.0",
            "of the metadata; each recording has its own license",
            (_AUDIO_DIR,),
        ),
        Corpus(
            "nsynth",
            "NSynth",
            "nsynth:read_nsynth",
            "nsynth-train, nsynth-valid and nsynth-test, each with examples.json and audio/",
            "https://magenta.tensorflow.org/datasets/nsynth",
            "cc-by-4.0",
        ),
        Corpus(
            "emomusic",
            "EmoMusic",
            "emomusic:read_emomusic",
            "annotations/songs_info.csv, annotations/static_annotations.csv and clips_45seconds/<song_id>.mp3",
            "https://cvml.unige.ch/databases/emoMusic/",
            "other",
            "for research; given out on request",
            (_AUDIO_DIR,),
        ),
        Corpus(
            "gtzan",
            "GTZAN, fault-filtered",
            "gtzan:read_gtzan",
            "genres/blues/blues.00000.au (or .wav), and train_filtered.txt, valid_filtered.txt, test_filtered.txt",
            "https://github.com/jordipons/sklearn-audio-transfer-learning",
            "other",
            "the recordings were collected without their owners' permission; research only",
            (_SPLIT_DIR, _AUDIO_DIR),
        ),
    )
}
"""All of them, by name."""
