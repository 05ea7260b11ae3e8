"""Difficulty of the synthetic corpus: linear probes on handcrafted features, and shortcuts that must not work.

`python -m mulap_hf.transfer.corpus_probe --output DIR` writes `probe.md`, `probe.json` and `probe.png`.
"""

import argparse
import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..files import make_folder, markdown_table
from ..scripts import run_script
from ..synthetic.generate import CorpusConfig, make_clip
from ..synthetic.instruments import INSTRUMENT_LABELS
from ..synthetic.notes import make_note
from ..synthetic.parallel import run_in_processes
from ..synthetic.styles import STYLE_NAMES
from ..synthetic.tags import TAGS
from ..synthetic.theory import KEY_NAMES, MODES
from .handcrafted import FEATURE_GROUPS, handcrafted_features, rotate_chroma

__all__ = ["main", "run_probes"]

_NUM_FEATURES = FEATURE_GROUPS["rhythm"].stop  # the tables of the corpus card were made without the later ones
_LABELS_PER_CLASS = (100, 30, 10)
_MIN_POSITIVES = 5  # labels with fewer positives (or negatives) in training or test are left out


@dataclass(frozen=True)
class _Clips:
    """Labels and features of clips (or notes)."""

    rows: list[dict[str, Any]]
    features: np.ndarray

    def column(self, name: str) -> np.ndarray:
        return np.array([row[name] for row in self.rows])


@dataclass(frozen=True)
class _Score:
    """One number of the tables."""

    table: str
    task: str
    measure: str
    chance: float
    split: str
    value: float


def _clip_with_features(
    make: Callable[[CorpusConfig, str, int], dict[str, Any]], config: CorpusConfig, split: str, index: int
) -> tuple[dict[str, Any], np.ndarray]:
    row = make(config, split, index)
    audio = row.pop("audio")
    level = np.log([np.sqrt(np.mean(audio**2)) + 1e-9, np.abs(audio).max() + 1e-9])
    return {**row, "log_level": level.tolist(), "samples": len(audio)}, handcrafted_features(audio)[:_NUM_FEATURES]


def _collect(make: Callable, config: CorpusConfig, split: str, number: int, num_workers: int | None) -> _Clips:
    task = partial(_clip_with_features, make, config, split)
    rows, features = zip(*run_in_processes(task, range(number), num_workers), strict=True)
    return _Clips(list(rows), np.array(features))


def _classifier(regularization: float = 0.02):
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=regularization, max_iter=500))


def _regressor():
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), RidgeCV(np.logspace(0, 5, 16)))


class _Probes:
    """Models trained on one set of clips and scored on the test splits."""

    def __init__(self, train: _Clips, tests: dict[str, _Clips]):
        self.train = train
        self.tests = tests
        self.scores: list[_Score] = []

    def add(self, table: str, task: str, measure: str, chance: float, split: str, value: float) -> None:
        self.scores.append(_Score(table, task, measure, round(chance, 3), split, round(float(value), 3)))

    def style(self) -> None:
        styles = self.train.column("style")
        for number in _LABELS_PER_CLASS:
            chosen = np.concatenate([np.flatnonzero(styles == style)[:number] for style in STYLE_NAMES])
            if len(chosen) < number * len(STYLE_NAMES):
                continue
            model = _classifier().fit(self.train.features[chosen], styles[chosen])
            for split, clips in self.tests.items():
                accuracy = model.score(clips.features, clips.column("style"))
                self.add("tasks", f"style, {number} labels per class", "accuracy", 1 / 12, split, accuracy)

    def labels(self, column: str, vocabulary: Sequence[str]) -> None:
        """Instruments or tags, each as a binary task; mean over those that are common enough."""
        from sklearn.metrics import average_precision_score, roc_auc_score

        def targets(clips: _Clips) -> np.ndarray:
            return np.array([[label in row[column] for label in vocabulary] for row in clips.rows])

        def common(matrix: np.ndarray) -> np.ndarray:
            positives = matrix.sum(axis=0)
            return (positives >= _MIN_POSITIVES) & (positives <= len(matrix) - _MIN_POSITIVES)

        train = targets(self.train)
        usable = np.flatnonzero(common(train))
        models = {label: _classifier(0.005).fit(self.train.features, train[:, label]) for label in usable}
        for split, clips in self.tests.items():
            test = targets(clips)
            scored = [label for label in usable if common(test)[label]]
            decisions = np.array([models[label].decision_function(clips.features) for label in scored]).T
            task = f"{column} ({len(scored)})"
            self.add("tasks", task, "ROC-AUC", 0.5, split, roc_auc_score(test[:, scored], decisions))
            precision = average_precision_score(test[:, scored], decisions)
            self.add("tasks", task, "PR-AUC", test[:, scored].mean(), split, precision)

    def key(self) -> None:
        """The 24 keys from chroma, trained on every clip in all twelve transpositions."""

        def targets(clips: _Clips) -> np.ndarray:
            names = [key.split()[0] for key in clips.column("key")]
            minor = clips.column("mode") == MODES[1]
            return np.array([KEY_NAMES.index(name) for name in names]) + 12 * minor

        chroma, keys = self.train.features[:, FEATURE_GROUPS["chroma"]], targets(self.train)
        rotated = np.concatenate([rotate_chroma(chroma, shift) for shift in range(12)])
        rotated_keys = np.concatenate([(keys + shift) % 12 + 12 * (keys // 12) for shift in range(12)])
        model = _classifier(1.0).fit(rotated, rotated_keys)
        for split, clips in self.tests.items():
            accuracy = model.score(clips.features[:, FEATURE_GROUPS["chroma"]], targets(clips))
            self.add("tasks", "key", "accuracy", 1 / 24, split, accuracy)

    def affect(self) -> None:
        for target in ("arousal", "valence"):
            model = _regressor().fit(self.train.features, self.train.column(target))
            for split, clips in self.tests.items():
                self.add("tasks", target, "R2", 0, split, model.score(clips.features, clips.column(target)))

    def family(self, notes: _Clips, tests: dict[str, _Clips]) -> None:
        families = notes.column("family")
        model = _classifier().fit(notes.features, families)
        pitch_only = _classifier(1.0).fit(notes.column("pitch")[:, None], families)
        for split, clips in tests.items():
            accuracy = model.score(clips.features, clips.column("family"))
            self.add("tasks", "family of single notes", "accuracy", 1 / 11, split, accuracy)
            accuracy = pitch_only.score(clips.column("pitch")[:, None], clips.column("family"))
            self.add("shortcuts", "family of single notes from pitch", "accuracy", 1 / 11, split, accuracy)

    def style_shortcuts(self) -> None:
        """The style from cues that should not predict it, with random forests, which also find nonlinear relations."""
        from sklearn.ensemble import RandomForestClassifier

        def presets(clips: _Clips) -> np.ndarray:
            """Which programs are played, and after them which drum kits: (clips, 256)."""
            used = [[t["program"] + 128 * (t["instrument"] == "drums") for t in row["tracks"]] for row in clips.rows]
            return np.array([np.isin(range(256), programs) for programs in used])

        def instruments(clips: _Clips) -> np.ndarray:
            return np.array([[label in row["instruments"] for label in INSTRUMENT_LABELS] for row in clips.rows])

        shortcuts: dict[str, Callable[[_Clips], np.ndarray]] = {
            "level": lambda clips: clips.column("log_level")[:, :1],
            "level and peak": lambda clips: clips.column("log_level"),
            "length": lambda clips: clips.column("samples")[:, None],
            "position in the corpus": lambda clips: np.arange(len(clips.rows))[:, None] % len(STYLE_NAMES),
            "true tempo": lambda clips: clips.column("tempo")[:, None],
            "true presets": presets,
            "true instruments": instruments,
        }
        for name, cue in shortcuts.items():
            model = RandomForestClassifier(100, min_samples_leaf=10, random_state=0)
            model.fit(cue(self.train), self.train.column("style"))
            for split, clips in self.tests.items():
                accuracy = model.score(cue(clips), clips.column("style"))
                self.add("shortcuts", f"style from {name}", "accuracy", 1 / 12, split, accuracy)

    def affect_shortcut(self) -> None:
        """Arousal and valence from the mean of the true style."""
        from sklearn.metrics import r2_score

        for target in ("arousal", "valence"):
            styles, values = self.train.column("style"), self.train.column(target)
            means = {style: values[styles == style].mean() for style in STYLE_NAMES}
            for split, clips in self.tests.items():
                predicted = np.array([means[style] for style in clips.column("style")])
                self.add(
                    "shortcuts", f"{target} from true style", "R2", 0, split, r2_score(clips.column(target), predicted)
                )

    def captions(self) -> None:
        """Style, arousal and valence from words and pairs of words of the caption."""
        from sklearn.feature_extraction.text import CountVectorizer
        from sklearn.linear_model import LogisticRegression, Ridge

        vectorizer = CountVectorizer(ngram_range=(1, 2), min_df=2)
        words = vectorizer.fit_transform(self.train.column("caption"))
        style = LogisticRegression(max_iter=500).fit(words, self.train.column("style"))
        affect = {name: Ridge(5).fit(words, self.train.column(name)) for name in ("arousal", "valence")}
        for split, clips in self.tests.items():
            bags = vectorizer.transform(clips.column("caption"))
            accuracy = style.score(bags, clips.column("style"))
            self.add("captions", "style from the caption", "accuracy", 1 / 12, split, accuracy)
            for name, model in affect.items():
                self.add("captions", f"{name} from the caption", "R2", 0, split, model.score(bags, clips.column(name)))


def _test_splits(config: CorpusConfig) -> list[str]:
    """The test splits that can be made with the given soundfonts."""
    splits = ["test", "test_presets"]
    if config.held_out_soundfont is not None:
        splits.append("test_soundfont")
    if config.soundfont is not None or config.held_out_soundfont is not None:
        splits.append("test_renderer")
    return splits


def run_probes(config: CorpusConfig, num_train: int, num_test: int, num_workers: int | None = None) -> list[dict]:
    """Make the clips and run all probes.

    Args:
        config: Settings of the corpus.
        num_train: Number of training clips (and notes).
        num_test: Number of clips (and notes) of each test split.
        num_workers: Number of processes.

    Returns:
        One dictionary per number: table, task, measure, chance, split, value.
    """
    splits = _test_splits(config)
    collect = partial(_collect, config=config, num_workers=num_workers)
    train = collect(make_clip, split="train", number=num_train)
    tests = {split: collect(make_clip, split=split, number=num_test) for split in splits}
    notes = collect(make_note, split="train", number=num_train)
    note_tests = {split: collect(make_note, split=split, number=num_test) for split in splits}

    probes = _Probes(train, tests)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # models that stop before convergence are good enough
        probes.style()
        probes.labels("instruments", INSTRUMENT_LABELS)
        probes.labels("tags", TAGS)
        probes.key()
        probes.affect()
        probes.family(notes, note_tests)
        probes.style_shortcuts()
        probes.affect_shortcut()
        probes.captions()
    return [vars(score) for score in probes.scores]


def _markdown(scores: list[dict], description: str) -> str:
    splits = list(dict.fromkeys(score["split"] for score in scores))
    lines = ["# Probes of the synthetic corpus", "", description]
    for table in dict.fromkeys(score["table"] for score in scores):
        rows: dict[tuple[str, str], dict[str, dict]] = {}
        for score in scores:
            if score["table"] == table:
                rows.setdefault((score["task"].split(" (")[0], score["measure"]), {})[score["split"]] = score
        cells = []
        for (task, measure), by_split in rows.items():
            chance = next(iter(by_split.values()))["chance"]
            values = [f"{by_split[split]['value']:.3f}" if split in by_split else "" for split in splits]
            cells.append([task, measure, f"{chance:.3f}", *values])
        lines += ["", f"## {table.capitalize()}", "", markdown_table(["", "measure", "chance", *splits], cells)]
    return "\n".join(lines) + "\n"


def _plot(scores: list[dict], path: Path) -> None:
    """Draw every number of the split `test` as a bar, and chance as a line."""
    from matplotlib.figure import Figure

    chosen = [score for score in scores if score["split"] == "test"][::-1]
    colors = {"tasks": "tab:blue", "shortcuts": "tab:red", "captions": "tab:green"}
    figure = Figure(figsize=(8, 0.3 * len(chosen) + 1), layout="constrained")
    axes = figure.subplots()
    axes.barh(range(len(chosen)), [s["value"] for s in chosen], color=[colors[s["table"]] for s in chosen])
    for position, score in enumerate(chosen):
        axes.plot([score["chance"]] * 2, [position - 0.4, position + 0.4], color="black")
    axes.set_yticks(range(len(chosen)), [f"{score['task']} [{score['measure']}]" for score in chosen])
    figure.supxlabel("blue: tasks, red: shortcuts, green: captions; line: chance")
    figure.savefig(path, dpi=100)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; `arguments` default to those of the process."""
    parser = argparse.ArgumentParser(
        prog="python -m mulap_hf.transfer.corpus_probe",
        description="Probes of the synthetic corpus, with shortcuts and chance: probe.md, probe.json, probe.png.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--output", required=True, metavar="DIR", type=Path, help="folder of the report")
    parser.add_argument("--num_train", type=int, default=1200, help="number of training clips")
    parser.add_argument("--num_test", type=int, default=600, help="number of clips of each test split")
    parser.add_argument("--clip_seconds", type=float, default=20.0, help="length of a clip")
    parser.add_argument("--seed", type=int, default=0, help="seed of the corpus")
    parser.add_argument("--soundfont", metavar="SF2", help="soundfont of the corpus")
    parser.add_argument("--held_out_soundfont", metavar="SF2", help="soundfont of the split test_soundfont")
    parser.add_argument("--num_workers", type=int, help="number of processes; one per CPU core if not given")
    parsed = parser.parse_args(arguments)
    config = CorpusConfig(
        seed=parsed.seed,
        clip_seconds=parsed.clip_seconds,
        soundfont=parsed.soundfont,
        held_out_soundfont=parsed.held_out_soundfont,
    )
    scores = run_probes(config, parsed.num_train, parsed.num_test, parsed.num_workers)
    description = (
        f"{parsed.num_train} training clips and {parsed.num_test} clips per test split of {config.clip_seconds:g} s, "
        f"seed {config.seed}, {'a soundfont' if config.soundfont else 'the numpy synthesizer'}; linear models on "
        "statistics of log-mel, MFCC, chroma and onset strength."
    )
    make_folder(parsed.output, "--output")
    report = _markdown(scores, description)
    (parsed.output / "probe.md").write_text(report, encoding="utf-8")
    (parsed.output / "probe.json").write_text(json.dumps(scores, indent=1) + "\n", encoding="utf-8")
    _plot(scores, parsed.output / "probe.png")
    print(report)


if __name__ == "__main__":
    run_script(main)
