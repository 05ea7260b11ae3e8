"""Transfers a backbone to a task: a head on its frozen features, or fine-tuning; chosen on validation, tested once.

accelerate launch training/transfer.py --model outputs/pretrained --task tagging        # of the synthetic corpus
accelerate launch training/transfer.py --model DIR --data prepared/magnatagatune        # with the published settings
accelerate launch training/transfer.py --model DIR --data prepared/fma --fine_tune      # the backbone learns as well

The output is a `MulapForAudioClassification` folder for pipeline("audio-classification"), with a report. An
interrupted run goes on when its command is repeated.
"""

import os

# Threads that wait must not keep the cores from decoding; it is read when torch is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

import json
import math
import shutil
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from accelerate import PartialState
from accelerate.utils import gather_object, set_seed
from safetensors.torch import save_file
from transformers import HfArgumentParser
from transformers.hf_argparser import string_to_bool
from transformers.utils.logging import disable_progress_bar

from mulap_hf.data.provenance import provenance
from mulap_hf.data.schema import SETTINGS_FILE
from mulap_hf.data.tables import Skipped
from mulap_hf.embedding import Embedder
from mulap_hf.files import format_interval, write_json
from mulap_hf.metrics.scores import MAIN_METRIC
from mulap_hf.pretraining.arguments import FREE_OPTIONS as FREE_TRAINING_OPTIONS
from mulap_hf.pretraining.arguments import TrainingArguments, parse_arguments
from mulap_hf.pretraining.report import environment
from mulap_hf.pretraining.run_folder import SETTINGS, RunFolder
from mulap_hf.pretraining.runs import make_accelerator, open_folder, use_threads
from mulap_hf.pretraining.tracking import ROW_KEYS, read_metrics, start_trackers
from mulap_hf.publishing.arguments import HubArguments, publish_finished
from mulap_hf.publishing.assemble import complete_folder
from mulap_hf.scripts import run_script
from mulap_hf.transfer.arguments import FineTuneArguments, ProbeArguments, RunArguments, TransferArguments
from mulap_hf.transfer.features import Extractor, FeatureCache, open_extractor
from mulap_hf.transfer.finetuning import fine_tune
from mulap_hf.transfer.probe import Probe
from mulap_hf.transfer.protocol import judge, learn, predict
from mulap_hf.transfer.report import REPORT_FILE, write_transfer_report
from mulap_hf.transfer.saving import save_classifier
from mulap_hf.transfer.tasks import TaskData

ROOT = Path(__file__).parents[1]
RECIPES = ROOT / "training" / "recipes" / "transfer"
# Options that change nothing of what is learned: a run may go on with others.
FREE_OPTIONS = (*FREE_TRAINING_OPTIONS, "cache_dir", "corpus_dir", "held_out_soundfont", "resamples", "device")


def main(arguments: list[str] | None = None):
    arguments = sys.argv[1:] if arguments is None else arguments
    if wants_fine_tuning(arguments):
        kinds, recipe, run = (FineTuneArguments, TrainingArguments), "fine_tune", run_fine_tuning
    else:
        kinds, recipe, run = (ProbeArguments, RunArguments), default_recipe(arguments), run_probe
    kinds = (TransferArguments, *kinds, HubArguments)
    *parts, hub_args = parse_arguments(kinds, arguments, RECIPES, __doc__, recipe)
    destination = hub_args.destination()
    run(*parts)
    if PartialState().is_main_process:
        publish_finished(ROOT / "model_cards", Path(parts[-1].output_dir), destination)


def wants_fine_tuning(arguments: list[str]) -> bool:
    """They decide which other options there are."""
    finder = HfArgumentParser([], add_help=False, allow_abbrev=False)
    finder.add_argument("--fine_tune", nargs="?", const=True, default=False, type=string_to_bool)
    return finder.parse_known_args(arguments)[0].fine_tune


def run_probe(args: TransferArguments, probe_args: ProbeArguments, run_args: RunArguments):
    """A head on frozen features learns in seconds: in one process."""
    if not PartialState().is_main_process:
        return
    start = time.perf_counter()
    data = args.open_task(args.task)
    extractor = open_extractor(args.model, args.device)
    settings = {"transfer": asdict(args), "probe": asdict(probe_args), "training": asdict(run_args)}
    settings["transfer"]["fingerprint"] = extractor.fingerprint
    folder = RunFolder.open(run_args.output_dir, settings, run_args.overwrite_output, may_differ=FREE_OPTIONS)
    cache = FeatureCache(args.cache_dir)
    checkpoint = folder.path / "checkpoints" / "probe.pt"
    checkpoint.parent.mkdir(exist_ok=True)
    learned = learn(extractor, data, probe_args, cache, run_args.seed, args.labels_per_class, checkpoint)
    # What is tested is on disk before anything of the tests is looked at.
    if isinstance(extractor, Embedder):
        save_classifier(folder.path, extractor.model, learned.probe, probe_args, data.task)
    else:
        save_file(learned.probe.head.state_dict(), folder.path / "probe.safetensors")
    checkpoint.parent.rmdir()
    facts = {
        "method": f"A head ({probe_args.head}) on frozen features of the backbone's chunks.",
        "tracks": {"train": learned.num_train, "validation": learned.num_validation},
        "chosen": f"epoch {learned.probe.best_epoch} of {len(learned.probe.history)}",
        "validation": learned.validation,
    }
    test_and_report(args, data, folder, extractor, learned.probe, cache, facts, learned.skipped, start)


def run_fine_tuning(args: TransferArguments, how: FineTuneArguments, training_args: TrainingArguments):
    """In as many processes as accelerate starts; the tests in one."""
    start = time.perf_counter()
    accelerator = make_accelerator(training_args)
    with accelerator.main_process_first():
        data = args.open_task(args.task)
    settings = {"transfer": asdict(args), "fine_tuning": asdict(how), "training": asdict(training_args)}
    folder = open_folder(training_args, settings, accelerator, may_differ=FREE_OPTIONS)
    set_seed(training_args.seed)
    disable_progress_bar()  # of each saving of the model: the run has its own
    use_threads(training_args.cpu_threads, accelerator)

    def prepare(loop):
        start_trackers(accelerator, settings, loop.progress.step or None)

    tuned = fine_tune(args.model, data, how, args.labels_per_class, training_args, accelerator, prepare)
    skipped = gather_object(tuned.skipped)
    if accelerator.is_main_process:
        shutil.copytree(tuned.loop.checkpoints.best_folder(), folder.path, dirs_exist_ok=True)
        tuned.model.save_pretrained(folder.path)
        progress = tuned.loop.progress
        evaluations = read_metrics(folder.path / "metrics.jsonl")
        best = next(row for row in evaluations if row["split"] == "validation" and row["step"] == progress.best_step)
        facts = {
            "method": f"The whole backbone and a head ({how.head}), fine-tuned.",
            "tracks": {"train": tuned.num_train, "validation": tuned.num_validation},
            "chosen": f"step {progress.best_step} of {progress.step}",
            "validation": {name: value for name, value in best.items() if name not in ROW_KEYS},
        }
        embedder = Embedder(tuned.model.audio_model, args.device)
        probe = Probe(tuned.model.classifier.cpu().eval(), history_of(evaluations), progress.best_step)
        unique = list({item.id: item for item in skipped}.values())
        cache = FeatureCache(args.cache_dir)
        test_and_report(args, data, folder, embedder, probe, cache, facts, unique, start)
    accelerator.free_memory()
    del tuned  # or torch 2.14 may abort at the exit of a process among several
    accelerator.end_training()


def history_of(evaluations: list[dict]) -> list[dict]:
    """A row per evaluation, with the loss that was last measured in training."""
    history, loss = [], math.nan
    for row in evaluations:
        if row["split"] == "train":
            loss = row["loss"]
        else:
            history.append({**row, "epoch": row["step"], "loss": loss})
    return history


def test_and_report(
    args: TransferArguments,
    data: TaskData,
    folder: RunFolder,
    extractor: Extractor,
    probe: Probe,
    cache: FeatureCache,
    facts: dict[str, Any],
    skipped: list[Skipped],
    start: float,
):
    """Predicts the tests, then reads their labels; writes metrics, report and card."""
    predictions = {split: predict(probe, extractor, data, cache, split) for split in data.test_splits}
    for split, predicted in predictions.items():
        predicted.save(folder.path / "predictions" / f"{split}.npz")
    tests = {split: judge(data, split, predicted, args.resamples) for split, predicted in predictions.items()}
    metric = MAIN_METRIC[data.task.kind]
    facts |= {
        "task": {"name": data.task.name, "kind": data.task.kind, "chosen_by": metric},
        "data": provenance(data.folder),
        "model": {"name": args.model, "on_hub": not Path(args.model).exists()},
        "seconds": round(time.perf_counter() - start),
        "environment": environment(),
    }
    skipped = skipped + [item for predicted in predictions.values() for item in predicted.skipped]
    metrics = {"validation": facts["validation"], **tests}
    write_json(folder.path / "metrics.json", metrics)
    described = {
        "task": f"{data.task.name} ({data.task.kind}, {data.task.num_outputs} outputs)",
        "data": f"{facts['data'].get('title', '')} {data.folder}".strip(),
        "model": args.model,
        "method": facts["method"],
        "tracks learned from": facts["tracks"]["train"],
        "tracks validated on": facts["tracks"]["validation"],
        "chosen": f"{facts['chosen']}, by validation {metric}",
        "seconds": facts["seconds"],
    }
    write_transfer_report(
        folder.path, data.task, described, facts["validation"], tests, probe.history, probe.best_epoch, skipped
    )
    if isinstance(extractor, Embedder):
        settings = json.loads((folder.path / SETTINGS).read_text(encoding="utf-8")) | {"run": facts}
        complete_folder(ROOT / "model_cards" / "templates", folder.path, settings, metrics)
    for split, judged in tests.items():
        results = ", ".join(f"{name} {format_interval(number)}" for name, number in judged["metrics"].items())
        print(f"{split}, {judged['tracks']} tracks: {results}")
    if skipped:
        print(f"{len(skipped)} tracks were left out; why: {folder.path / 'skipped.jsonl'}")
    print(f"Saved to {folder.path}; read {folder.path / REPORT_FILE}")
    folder.finish(**facts)


def default_recipe(arguments: list[str]) -> str:
    """The one with the name of the corpus in `--data`, if there is one."""
    finder = HfArgumentParser([], add_help=False, allow_abbrev=False)
    finder.add_argument("--data")
    folder = finder.parse_known_args(arguments)[0].data
    try:
        corpus = json.loads((Path(folder or "") / SETTINGS_FILE).read_text(encoding="utf-8"))["settings"]["corpus"]
    except (OSError, ValueError, KeyError):
        return "probe"
    return corpus if (RECIPES / f"{corpus}.json").is_file() else "probe"


if __name__ == "__main__":
    run_script(main)
