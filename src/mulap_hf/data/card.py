"""The dataset card of a prepared dataset: what is in it, where it is from, how it was made, what was left out."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import DatasetCard, DatasetCardData

from ..files import markdown_table
from .corpora import Corpus
from .results import Report
from .schema import SETTINGS_FILE, Reading, Task

CARD_FILE = "README.md"


def write_card(
    folder: Path,
    corpus: Corpus,
    reading: Reading,
    report: Report,
    embed: bool,
    full_check: bool,
    options: Mapping[str, Any],
    root: str,
):
    """Writes the card into the folder of a prepared dataset, with the front matter that `load_dataset` needs."""
    files = [{"split": split, "path": f"{split}-*.parquet"} for split, done in report.splits.items() if done.rows]
    title = corpus.title[0].upper() + corpus.title[1:]
    captioned = "caption" in reading.columns
    data = DatasetCardData(
        license=corpus.license,
        pretty_name=f"{title} (prepared for MuLaP)",
        task_categories=["audio-classification"] if reading.tasks else ["feature-extraction"],
        tags=["music", "audio", "mulap"],
        size_categories=[_size_category(sum(done.rows for done in report.splits.values()))],
        configs=[{"config_name": "default", "data_files": files}],
    )
    columns = ", ".join(f"`{name}`" for name in reading.columns)
    sections = [
        f"# {title}",
        _source(corpus, root),
        "## Contents\n\n" + markdown_table(("split", "items", "shards", "left out"), _counts(report)),
        f"Columns: `id`; `audio` (struct of `bytes` and `path`); `recording` (equal for equal audio); {columns}.",
        _usage(captioned),
    ]
    if reading.tasks:
        rows = [_task(task) for task in reading.tasks]
        sections.append("## Tasks\n\n" + markdown_table(("task", "kind", "columns", "classes", "notes"), rows))
    sections.append("## How it was made\n\n" + "\n".join(_making(corpus, reading, embed, full_check, options)))
    if report.notes:
        sections.append("## Audio that is there more than once\n\n" + "\n".join(f"* {note}" for note in report.notes))
    if report.differences:
        lines = "\n".join(f"* {difference}" for difference in report.differences)
        sections.append(f"## Differences from the published counts\n\n{lines}")
    if report.skipped:
        sections.append("## Left out\n\n" + _left_out(report))
    text = "\n\n".join(sections) + "\n"
    DatasetCard(f"---\n{data.to_yaml()}\n---\n\n{text}").save(folder / CARD_FILE)


def _size_category(rows: int) -> str:
    """The Hub's name for a number of rows."""
    bounds = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
    return next((name for bound, name in bounds if rows < bound), "1M<n<10M")


def _source(corpus: Corpus, root: str) -> str:
    """Without the path, if it is one of this machine."""
    on_hub = f"{root} on the Hub" if not corpus.local and not Path(root).exists() else "your own collection"
    source = f"Source: {corpus.url or on_hub}. "
    license = corpus.license or "as the collection's"
    return source + f"License: {license}" + (f" ({corpus.license_note})." if corpus.license_note else ".")


def _counts(report: Report) -> Iterable[tuple]:
    for split, done in report.splits.items():
        yield split, f"{done.rows:,}", done.shards, f"{len(done.skipped):,}"


def _usage(captioned: bool) -> str:
    text = 'row["caption"]' if captioned else 'row["id"]'
    return (
        "```python\nfrom datasets import load_dataset\nfrom mulap_hf import load_audio\n\n"
        'rows = load_dataset("path/of/this/folder", split="...", streaming=True)\n'
        f'for row in rows:\n    waveform = load_audio(row["audio"]["bytes"] or row["audio"]["path"])  # 16 kHz, mono\n'
        f"    print({text}, waveform.shape)\n```"
    )


def _task(task: Task) -> tuple:
    used = f"The input is the first {task.seconds:g} s." if task.seconds and not task.description else ""
    return task.name, task.kind, ", ".join(task.columns), len(task.classes) or "", task.description or used


def _making(
    corpus: Corpus, reading: Reading, embed: bool, full_check: bool, options: Mapping[str, Any]
) -> Iterable[str]:
    usual = {option.name: option.default for option in corpus.options}
    given = {name: value for name, value in options.items() if value not in (None, (), [], usual.get(name))}
    flags = "".join(f" --{name} {'...' if name.endswith('_dir') else _words(value)}" for name, value in given.items())
    yield f"* `python training/prepare_dataset.py {corpus.name} --root ... --output ...{flags}`"
    yield "* " + ("The audio files are embedded, byte by byte as published." if embed else "Audio by its path.")
    yield "* Every audio file was " + ("decoded to its end." if full_check else "opened and its start decoded.")
    yield from (f"* {note}" for note in reading.notes)


def _words(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _left_out(report: Report) -> str:
    # Without their details, in which are paths of this machine.
    rows = (
        (split, reason, count, next(item.id for item in done.skipped if item.reason == reason))
        for split, done in report.splits.items()
        for reason, count in done.reasons.most_common()
    )
    return markdown_table(("split", "reason", "items", "for example"), rows) + f"\n\nAll of them: `{SETTINGS_FILE}`."
