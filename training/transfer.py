"""Transfers a backbone to a task: a head on its frozen features, or fine-tuning; chosen on validation, tested once.

accelerate launch training/transfer.py --model outputs/pretrained --task tagging        # of the embedded corpus
accelerate launch training/transfer.py --model DIR --data prepared/magnatagatune        # with the published settings
accelerate launch training/transfer.py --model DIR --data prepared/fma --fine_tune      # the backbone learns as well

The output is a `MulapForAudioClassification` folder for pipeline("audio-classification"), with a report. An
interrupted run goes on when its command is repeated.
"""

import os

# Threads that wait must not keep the cores from decoding; it is read when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from accelerate import PartialState
from safetensors.torch import save_file

from mulap_hf.conversion import ConversionError
from mulap_hf.data import DataError
from mulap_hf.data.prepare import SETTINGS_FILE
from mulap_hf.embedding import Embedder
from mulap_hf.files import format_interval, write_json
from mulap_hf.metrics.scores import MAIN_METRIC
from mulap_hf.model_card import write_transfer_card
from mulap_hf.training.arguments import parse_arguments
from mulap_hf.training.report import environment
from mulap_hf.training.run_folder import RunFolder, RunFolderError
from mulap_hf.transfer.arguments import ProbeArguments, TransferArguments
from mulap_hf.transfer.features import FeatureCache, open_extractor
from mulap_hf.transfer.protocol import judge, learn, predict
from mulap_hf.transfer.report import REPORT_FILE, write_transfer_report
from mulap_hf.transfer.saving import save_classifier
from mulap_hf.transfer.tasks import TaskData, open_embedded_task, open_task

ROOT = Path(__file__).parents[1]
RECIPES = ROOT / "training" / "recipes" / "transfer"
USER_ERRORS = (ConversionError, DataError, OSError, RunFolderError)
# Options that change nothing of what is learnt: a run may go on with others.
FREE_OPTIONS = ("output_dir", "overwrite_output", "cache_dir", "corpus_dir", "resamples", "device")


def main(arguments: list[str] | None = None):
    arguments = sys.argv[1:] if arguments is None else arguments
    args, probe_args = parse_arguments(
        (TransferArguments, ProbeArguments), arguments, RECIPES, __doc__, default_recipe(arguments)
    )
    if not PartialState().is_main_process:  # a head learns in seconds, in one process
        return
    start = time.perf_counter()
    data = open_data(args)
    extractor = open_extractor(args.model, args.device)
    settings = {"transfer": asdict(args) | {"fingerprint": extractor.fingerprint}, "probe": asdict(probe_args)}
    folder = RunFolder.open(args.output_dir, settings, args.overwrite_output, may_differ=FREE_OPTIONS)
    cache = FeatureCache(args.cache_dir)
    (folder.path / "checkpoints").mkdir(exist_ok=True)
    learnt = learn(
        extractor,
        data,
        probe_args,
        cache,
        args.seed,
        args.labels_per_class,
        checkpoint=folder.path / "checkpoints" / "probe.pt",
    )
    # What is tested is on disk before anything of the tests is looked at.
    if isinstance(extractor, Embedder):
        save_classifier(folder.path, extractor.model, learnt.probe, probe_args, data.task)
    else:
        save_file(learnt.probe.head.state_dict(), folder.path / "probe.safetensors")
    predictions = {split: predict(learnt.probe, extractor, data, cache, split) for split in data.test_splits}
    for split, predicted in predictions.items():
        predicted.save(folder.path / "predictions" / f"{split}.npz")
    tests = {split: judge(data, split, predicted, args.resamples) for split, predicted in predictions.items()}
    facts = {
        "task": {"name": data.task.name, "kind": data.task.kind, "chosen_by": MAIN_METRIC[data.task.kind]},
        "data": data.provenance() | {"folder": str(data.folder)},
        "model": {"name": args.model},
        "tracks": {"train": learnt.num_train, "validation": learnt.num_validation},
        "method": f"A head ({probe_args.head}) on frozen features of the backbone's chunks.",
        "best_epoch": learnt.probe.best_epoch,
        "epochs": len(learnt.probe.history),
        "seconds": round(time.perf_counter() - start),
        "environment": environment(),
    }
    skipped = learnt.skipped + [item for predicted in predictions.values() for item in predicted.skipped]
    write_results(folder.path, data, facts, learnt, tests, skipped)
    if isinstance(extractor, Embedder):
        write_transfer_card(ROOT / "model_cards" / "transferred.md", folder.path, facts, tests)
    (folder.path / "checkpoints").rmdir()
    folder.finish(**facts)


def default_recipe(arguments: list[str]) -> str:
    """The one with the name of the corpus in `--data`, if there is one."""
    from argparse import ArgumentParser

    finder = ArgumentParser(add_help=False, allow_abbrev=False)
    finder.add_argument("--data")
    folder = finder.parse_known_args(arguments)[0].data
    try:
        corpus = json.loads((Path(folder or "") / SETTINGS_FILE).read_text(encoding="utf-8"))["settings"]["corpus"]
    except (OSError, ValueError, KeyError):
        return "probe"
    return corpus if (RECIPES / f"{corpus}.json").is_file() else "probe"


def open_data(args: TransferArguments) -> TaskData:
    """The user's task, or one of the embedded corpus."""
    if args.data is not None:
        return open_task(args.data, args.task)
    return open_embedded_task(args.task or "tagging", args.corpus_dir, args.corpus_clips, args.clip_seconds, True)


def write_results(folder: Path, data: TaskData, facts: dict[str, Any], learnt, tests: dict[str, dict], skipped: list):
    write_json(folder / "metrics.json", {"validation": learnt.validation, **tests})
    described = {
        "task": f"{data.task.name} ({data.task.kind}, {data.task.num_outputs} outputs)",
        "data": f"{facts['data'].get('title', '')} {data.folder}".strip(),
        "model": facts["model"]["name"],
        "tracks learnt from": learnt.num_train,
        "tracks validated on": learnt.num_validation,
        "chosen": f"epoch {learnt.probe.best_epoch} of {len(learnt.probe.history)}, by validation "
        f"{facts['task']['chosen_by']}",
        "seconds": facts["seconds"],
    }
    write_transfer_report(
        folder, data.task, described, learnt.validation, tests, learnt.probe.history, learnt.probe.best_epoch, skipped
    )
    for split, judged in tests.items():
        results = ", ".join(f"{name} {format_interval(metric)}" for name, metric in judged["metrics"].items())
        print(f"{split}, {judged['tracks']} tracks: {results}")
    if skipped:
        print(f"{len(skipped)} tracks were left out; why: {folder / 'skipped.jsonl'}")
    print(f"Saved to {folder}; read {folder / REPORT_FILE}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("interrupted; repeat the command to go on")
        raise SystemExit(130) from None
    except USER_ERRORS as error:
        raise SystemExit(f"error: {error}") from None
