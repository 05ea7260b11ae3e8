"""A transfer from start to end: a head on frozen features or fine-tuning, the test splits, and the report."""

import json
import math
import shutil
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from accelerate import PartialState
from accelerate.utils import gather_object, set_seed
from safetensors.torch import save_file
from transformers.utils.logging import disable_progress_bar

from ..data.provenance import provenance
from ..data.schema import Skipped
from ..embedding import Embedder
from ..files import format_interval, write_json
from ..metrics.scores import MAIN_METRIC
from ..pretraining.arguments import FREE_OPTIONS as FREE_TRAINING_OPTIONS
from ..pretraining.arguments import TrainingArguments
from ..pretraining.report import environment
from ..pretraining.run_folder import RunFolder
from ..pretraining.runs import make_accelerator, open_folder, use_threads
from ..pretraining.tracking import ROW_KEYS, read_metrics, start_trackers
from ..publishing.arguments import HubArguments
from ..publishing.assemble import complete_folder
from ..publishing.hub import find_destination, publish_finished
from ..settings import TRAINING_SETTINGS
from ..transfer.arguments import FineTuneArguments, ProbeArguments, RunArguments, TransferArguments
from ..transfer.features import Extractor, FeatureCache, open_extractor
from ..transfer.finetuning import fine_tune
from ..transfer.probe import Probe
from ..transfer.protocol import evaluate, learn, predict
from ..transfer.report import REPORT_FILE, write_transfer_report
from ..transfer.saving import save_classifier
from ..transfer.tasks import TaskData

# Options that do not influence the training: they may change when a run resumes.
FREE_OPTIONS = (*FREE_TRAINING_OPTIONS, "cache_dir", "corpus_dir", "held_out_soundfont", "resamples", "device")


def transfer(
    args: TransferArguments,
    how: ProbeArguments | FineTuneArguments,
    run_args: RunArguments | TrainingArguments,
    hub_args: HubArguments,
):
    """Transfer a backbone, and publish the result if requested; the main function of `training/transfer.py`."""
    destination = find_destination(hub_args)
    if isinstance(how, FineTuneArguments):
        run_fine_tuning(args, how, run_args)
    else:
        run_probe(args, how, run_args)
    if PartialState().is_main_process:
        publish_finished(Path(run_args.output_dir), destination)


def run_probe(args: TransferArguments, probe_args: ProbeArguments, run_args: RunArguments):
    """Train a head on frozen features, which takes seconds: only in the main process."""
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
    # The model is saved before the test splits are read.
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
    """Fine-tune in all processes that accelerate starts, and evaluate the test splits in the main process."""
    start = time.perf_counter()
    accelerator = make_accelerator(training_args)
    with accelerator.main_process_first():
        data = args.open_task(args.task)
    settings = {"transfer": asdict(args), "fine_tuning": asdict(how), "training": asdict(training_args)}
    folder = open_folder(training_args, settings, accelerator, may_differ=FREE_OPTIONS)
    set_seed(training_args.seed)
    disable_progress_bar()  # of saving the model: the run has its own bar
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
    """One row per evaluation, with the last training loss before it."""
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
    """Predict the test splits, then read their labels, and write metrics, report and card."""
    predictions = {split: predict(probe, extractor, data, cache, split) for split in data.test_splits}
    for split, predicted in predictions.items():
        predicted.save(folder.path / "predictions" / f"{split}.npz")
    tests = {split: evaluate(data, split, predicted, args.resamples) for split, predicted in predictions.items()}
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
        settings = json.loads((folder.path / TRAINING_SETTINGS).read_text(encoding="utf-8")) | {"run": facts}
        complete_folder(folder.path, settings, metrics)
    for split, results in tests.items():
        numbers = ", ".join(f"{name} {format_interval(number)}" for name, number in results["metrics"].items())
        print(f"{split}, {results['tracks']} tracks: {numbers}")
    if skipped:
        print(f"{len(skipped)} tracks were left out; why: {folder.path / 'skipped.jsonl'}")
    print(f"Saved to {folder.path}; read {folder.path / REPORT_FILE}")
    folder.finish(**facts)
