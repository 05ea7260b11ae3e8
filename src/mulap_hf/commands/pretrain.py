"""A pre-training run from start to end: data, tokenizer, model, loop, and the folder that goes to the Hub."""

import json
import math
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import gather_object, set_seed
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils.logging import disable_progress_bar

from ..configuration_mulap import MulapConfig
from ..data.clips import INCOMPLETE
from ..data.provenance import describe_corpus, provenance
from ..data.streams import PairStream, has_split, open_pairs
from ..errors import DataError
from ..feature_extraction_mulap import MulapFeatureExtractor
from ..loading import load_backbone, load_bert, loading_errors, text_config_from_bert
from ..pretraining.arguments import DataArguments, ModelArguments, TrainingArguments
from ..pretraining.distributed import synchronize_batch_norm
from ..pretraining.evaluation import collapse_warning
from ..pretraining.loop import TrainingLoop
from ..pretraining.objective import Objective, find_objective
from ..pretraining.report import environment, write_report
from ..pretraining.runs import make_accelerator, make_loaders, open_folder, use_threads
from ..pretraining.tracking import read_metrics, start_trackers
from ..publishing.arguments import HubArguments
from ..publishing.assemble import complete_folder
from ..publishing.hub import find_destination, publish_finished
from ..synthetic import write_pretraining_corpus
from ..tokenization import train_tokenizer


def pretrain(model_args: ModelArguments, data_args: DataArguments, args: TrainingArguments, hub_args: HubArguments):
    """Pre-trains a model with the options of `training/pretrain.py`, and publishes it if they say so."""
    accelerator = make_accelerator(args)
    destination = find_destination(hub_args)
    settings = {"model": asdict(model_args), "data": asdict(data_args), "training": asdict(args)}
    folder = open_folder(args, settings, accelerator)
    set_seed(args.seed)
    disable_progress_bar()  # that each saving of the model would show
    use_threads(args.cpu_threads, accelerator)
    kind = find_objective(model_args.objective)
    train_pairs, validation_pairs = load_pairs(data_args, kind, accelerator)
    args.max_steps = count_steps(args, train_pairs, accelerator)
    tokenizer = make_tokenizer(model_args, data_args, train_pairs) if kind.needs_captions else None
    if tokenizer is None and model_args.text_model is not None and accelerator.is_main_process:
        print(
            f"--text_model {model_args.text_model} is not used: --objective {model_args.objective} reads no captions"
        )
    objective = kind(model_args, data_args, args, MulapFeatureExtractor(), train_pairs, tokenizer)
    model = make_model(model_args, objective, accelerator, args)
    if accelerator.num_processes > 1:
        set_seed(args.seed, device_specific=True)  # otherwise all would draw the same dropout and negatives
    train_loader, validation_loader = make_loaders(
        train_pairs, validation_pairs, objective, model, data_args, args, accelerator
    )
    loop = TrainingLoop(
        objective,
        model,
        train_loader,
        validation_loader,
        accelerator,
        args,
        Path(args.output_dir),
        train_pairs.fingerprint,
    )
    start_trackers(accelerator, settings, loop.progress.step or None)
    loop.run()
    skipped = gather_object([*loop.stream.skipped.values(), *loop.validation_skipped.values()])
    if accelerator.is_main_process:
        known = {item.id: item for item in [*train_pairs.skipped, *validation_pairs.skipped, *skipped]}
        validated = validation_pairs.num_pairs
        if validated and data_args.max_validation:
            validated = min(validated, data_args.max_validation)
        facts = {
            "pairs": {"train": train_pairs.num_pairs, "validation": validated},
            "max_steps": args.max_steps,
            "steps": loop.progress.step,
            "seconds": round(loop.progress.seconds),
            "data": provenance(data_args.train_data) if data_args.train_data else describe_corpus("synthetic"),
            "environment": environment(accelerator),
        }
        complete(loop, settings, facts, list(known.values()))
        folder.finish(**facts)
    accelerator.free_memory()
    del loop, model  # or torch 2.14 may abort at the exit of a process among several
    accelerator.end_training()
    if accelerator.is_main_process:
        publish_finished(Path(args.output_dir), destination)


def load_pairs(
    data_args: DataArguments, kind: type[Objective], accelerator: Accelerator
) -> tuple[PairStream, PairStream]:
    """Training and validation pairs: the user's, or those of the synthetic corpus."""
    train_data, validation_data = data_args.train_data, data_args.validation_data
    if train_data is None:
        clips, seconds = data_args.corpus_clips, max(data_args.corpus_seconds, data_args.clip_seconds)
        try:
            with accelerator.main_process_first():
                write_pretraining_corpus(data_args.corpus_dir, clips, seconds, progress=accelerator.is_main_process)
        except DataError as error:
            raise DataError(f"--corpus_dir: {error}") from error
        train_data = data_args.corpus_dir
    labels = data_args.label_column if kind.needs_labels else None
    how = data_args.table_options() | {"label_column": labels, "needs_captions": kind.needs_captions}
    if validation_data is None and has_split(train_data, "validation", **how):
        validation_data = train_data
    pairs = open_pairs(train_data, "train", **how)
    if validation_data is None:
        pairs, validation_pairs = pairs.hold_out(data_args.validation_share)
    else:
        validation_pairs = open_pairs(validation_data, "validation", **how)
    for note in dict.fromkeys((*pairs.notes, *validation_pairs.notes)):
        accelerator.print(note)
    return pairs.take_fraction(data_args.train_share), validation_pairs


def count_steps(args: TrainingArguments, pairs: PairStream, accelerator: Accelerator) -> int:
    if args.num_epochs is None:
        return args.max_steps
    if pairs.num_pairs is None:
        raise DataError(
            "--num_epochs needs the number of pairs, which is unknown before they are read: pass --max_steps"
        )
    per_step = args.batch_size * args.gradient_accumulation_steps * accelerator.num_processes
    return args.num_epochs * math.ceil(pairs.num_pairs / per_step)


def make_tokenizer(model_args: ModelArguments, data_args: DataArguments, pairs: PairStream) -> PreTrainedTokenizerBase:
    """The tokenizer of --text_model, or one trained on the captions."""
    if model_args.text_model is not None:
        with loading_errors(model_args.text_model):
            return AutoTokenizer.from_pretrained(model_args.text_model, model_max_length=data_args.max_text_length)
    captions = pairs.captions()
    if not captions:
        raise DataError(f"--train_data {data_args.train_data}: none of its rows has a caption")
    return train_tokenizer(captions, model_args.vocab_size, data_args.max_text_length)


def make_model(
    model_args: ModelArguments,
    objective: Objective,
    accelerator: Accelerator,
    args: TrainingArguments,
) -> PreTrainedModel:
    tokenizer, text_config = objective.tokenizer, {}
    text_model = None if tokenizer is None else model_args.text_model
    if tokenizer is not None:
        text_config = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
    if text_model is not None:
        text_config |= text_config_from_bert(text_model, model_args.num_text_layers)
    own = model_args.config_fields()
    text_config |= own.pop("text_config", {})
    fields = objective.config_fields | {"freeze_text": model_args.freeze_text} | own
    config = MulapConfig.from_preset(model_args.preset, text_config=text_config, **fields)
    limit = config.text_config.max_position_embeddings
    if tokenizer is not None and tokenizer.model_max_length > limit:
        raise DataError(
            f"--max_text_length {tokenizer.model_max_length} is longer than the {limit} tokens that the model takes: "
            f"pass {limit} or less"
        )
    model = objective.make_model(config)
    if text_model is not None:
        load_bert(model, text_model)
    if model_args.backbone is not None:
        load_backbone(model, model_args.backbone)
    if model_args.gradient_checkpointing:
        try:
            model.gradient_checkpointing_enable()
        except ValueError as error:
            raise DataError(
                f"--gradient_checkpointing does not work with --objective {model_args.objective} ({error}): leave it "
                "out"
            ) from error
    if args.sync_batch_norm and accelerator.num_processes > 1:
        model = synchronize_batch_norm(model)
    if model_args.compile:
        model.compile(dynamic=True)  # captions and clips have many lengths
    return model


def complete(loop: TrainingLoop, settings: dict[str, Any], facts: dict[str, Any], skipped: list):
    """Completes the output folder for the Hub: the best model, its metrics and card, and the report."""
    folder = Path(loop.args.output_dir)
    shutil.copytree(loop.checkpoints.best_folder(), folder, dirs_exist_ok=True)
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    evaluations = [row for row in read_metrics(folder / "metrics.jsonl") if row["split"] == "validation"]
    warnings = [f"step {row['step']}: {text}" for row in evaluations if (text := collapse_warning(row))]
    write_report(folder, settings | facts, facts["environment"], skipped, loop.progress.best_step, warnings)
    complete_folder(folder, settings | {"run": facts}, metrics)
    print("validation: " + ", ".join(f"{name} {value:.4f}" for name, value in metrics.items()))
    incomplete = sum(item.reason == INCOMPLETE for item in skipped)
    if len(skipped) > incomplete:
        print(f"{len(skipped) - incomplete} items were skipped; why: {folder / 'skipped.jsonl'}")
    if incomplete:
        print(f"{incomplete} items are {INCOMPLETE}; which: {folder / 'skipped.jsonl'}")
    print(f"Saved to {folder}; read {folder / 'training_report.md'}")
    print(f"Embed music with: mulap embed PATH --model {folder} --output out.parquet")
