"""Pre-trains MuLaP on described audio and saves a folder that is ready for the Hub.

accelerate launch training/pretrain.py                              # makes a small corpus, trains the tiny model
accelerate launch training/pretrain.py --train_data my_catalogue    # audio files + metadata.jsonl or .csv
"""

import json
import os
import shutil
import sys
import time
from dataclasses import asdict
from pathlib import Path

import torch
from accelerate import Accelerator, DataLoaderConfiguration
from accelerate.utils import set_seed
from torch.utils.data import DataLoader
from tqdm import tqdm
from transformers import AutoTokenizer, HfArgumentParser

from mulap_hf import MulapConfig, MulapFeatureExtractor, MulapForPreTraining, MulapProcessor
from mulap_hf.conversion import ConversionError
from mulap_hf.corpus import CorpusConfig, write_corpus
from mulap_hf.data import DataError, PairStream, PreTrainingCollator, Skipped, has_split, open_pairs
from mulap_hf.initialization import load_backbone, load_bert, text_config_from_bert
from mulap_hf.model_card import write_pretraining_card
from mulap_hf.tokenization import train_tokenizer
from mulap_hf.training.arguments import DataArguments, ModelArguments, TrainingArguments
from mulap_hf.training.evaluation import evaluate_pretraining
from mulap_hf.training.optimization import make_optimizer, make_schedule

CARD_TEMPLATE = Path(__file__).parents[1] / "model_cards" / "pretrained.md"


def main(arguments: list[str] | None = None):
    parser = HfArgumentParser([ModelArguments, DataArguments, TrainingArguments], description=__doc__)
    model_args, data_args, args = parser.parse_args_into_dataclasses(arguments)
    accelerator = Accelerator(
        mixed_precision=args.mixed_precision,
        dataloader_config=DataLoaderConfiguration(dispatch_batches=False),
    )
    set_seed(args.seed)
    use_threads(args.cpu_threads, accelerator)
    output_dir = prepare_output(args, accelerator)
    train_pairs, validation_pairs = load_pairs(data_args, accelerator)
    processor = make_processor(model_args, data_args, train_pairs)
    model = make_model(model_args, processor)
    train_batches, validation_batches = make_loaders(train_pairs, validation_pairs, processor, model, data_args, args)
    started = time.time()
    model, skipped = train(model, train_batches, args, accelerator, output_dir)
    if accelerator.is_main_process:
        metrics = validate(model, validation_batches, accelerator.device)
        report(metrics, [*train_pairs.skipped, *validation_pairs.skipped, *skipped])
        model.save_pretrained(output_dir)
        processor.save_pretrained(output_dir)
        settings = {"model": asdict(model_args), "data": asdict(data_args), "training": asdict(args)}
        settings["pairs"] = {"train": train_pairs.num_pairs, "validation": validation_pairs.num_pairs}
        settings["seconds"] = round(time.time() - started)
        write_json(output_dir / "training_settings.json", settings)
        write_json(output_dir / "metrics.json", metrics)
        write_pretraining_card(CARD_TEMPLATE, output_dir, model, settings, metrics)
        print(f"Saved to {output_dir}. Embed music with: mulap embed PATH --model {output_dir} --output out.parquet")
    accelerator.end_training()


def use_threads(threads: int | None, accelerator: Accelerator):
    """On the CPU, as many threads as asked for, or this process' share of the cores."""
    if accelerator.device.type == "cpu":
        processes = int(os.environ.get("LOCAL_WORLD_SIZE", accelerator.num_processes))
        torch.set_num_threads(threads or max(1, (os.cpu_count() or 1) // processes))


def prepare_output(args: TrainingArguments, accelerator: Accelerator) -> Path:
    """An empty output folder; one that has something in it is refused, not overwritten."""
    output_dir = Path(args.output_dir)
    if accelerator.is_main_process:
        if output_dir.exists() and any(output_dir.iterdir()):
            if not args.overwrite_output:
                raise SystemExit(
                    f"{output_dir} is not empty: pass another --output_dir, or --overwrite_output to replace it"
                )
            shutil.rmtree(output_dir)
        output_dir.mkdir(parents=True, exist_ok=True)
    accelerator.wait_for_everyone()
    return output_dir


def load_pairs(data_args: DataArguments, accelerator: Accelerator) -> tuple[PairStream, PairStream]:
    """Training and validation pairs: the user's, or those of the embedded corpus."""
    train_data, validation_data = data_args.train_data, data_args.validation_data
    if train_data is None:
        splits = {"train": data_args.corpus_clips, "validation": max(64, data_args.corpus_clips // 10)}
        config = CorpusConfig(clip_seconds=data_args.clip_seconds)
        try:
            with accelerator.main_process_first():
                for split, clips in splits.items():
                    write_corpus(config, split, clips, data_args.corpus_dir, progress=accelerator.is_main_process)
        except ValueError as error:
            raise DataError(f"--corpus_dir: {error}") from error
        train_data = data_args.corpus_dir
    if validation_data is None and has_split(train_data, "validation"):
        validation_data = train_data
    pairs = open_pairs(train_data, "train", data_args.caption_column)
    if validation_data is None:
        return pairs.hold_out(data_args.validation_share)
    return pairs, open_pairs(validation_data, "validation", data_args.caption_column)


def make_processor(model_args: ModelArguments, data_args: DataArguments, pairs: PairStream) -> MulapProcessor:
    if model_args.text_model is None:
        tokenizer = train_tokenizer(pairs.captions(), model_args.vocab_size, data_args.max_text_length)
    else:
        tokenizer = AutoTokenizer.from_pretrained(model_args.text_model, model_max_length=data_args.max_text_length)
    return MulapProcessor(MulapFeatureExtractor(), tokenizer)


def make_model(model_args: ModelArguments, processor: MulapProcessor) -> MulapForPreTraining:
    text_config = {"vocab_size": len(processor.tokenizer), "pad_token_id": processor.tokenizer.pad_token_id}
    if model_args.text_model is not None:
        text_config |= text_config_from_bert(model_args.text_model, model_args.num_text_layers)
    config = MulapConfig.from_preset(model_args.preset, text_config=text_config, freeze_text=model_args.freeze_text)
    longest, limit = processor.tokenizer.model_max_length, config.text_config.max_position_embeddings
    if longest > limit:
        raise DataError(f"--max_text_length {longest} is longer than the {limit} tokens that the model takes")
    model = MulapForPreTraining(config)
    if model_args.text_model is not None:
        load_bert(model, model_args.text_model)
    if model_args.backbone is not None:
        load_backbone(model, model_args.backbone)
    return model


def make_loaders(
    train_pairs: PairStream,
    validation_pairs: PairStream,
    processor: MulapProcessor,
    model: MulapForPreTraining,
    data_args: DataArguments,
    args: TrainingArguments,
) -> tuple[DataLoader, DataLoader]:
    def collator(**options) -> PreTrainingCollator:
        return PreTrainingCollator(
            processor,
            chunk_length=model.config.audio_config.chunk_length,
            clip_seconds=data_args.clip_seconds,
            mlm_probability=data_args.mlm_probability,
            whole_words=data_args.whole_words,
            mam_probability=data_args.mam_probability,
            min_masked_chunks=data_args.min_masked_chunks,
            mismatch_probability=data_args.mismatch_probability,
            seed=args.seed,
            **options,
        )

    train_batches = DataLoader(
        train_pairs.dataset.shuffle(seed=args.seed, buffer_size=data_args.shuffle_buffer),
        batch_size=args.batch_size,
        collate_fn=collator(random_crop=data_args.crop == "random"),
        num_workers=data_args.num_workers,
        generator=torch.Generator().manual_seed(args.seed),
    )
    validation_batches = DataLoader(
        validation_pairs.dataset, batch_size=args.batch_size, collate_fn=collator(random_crop=False)
    )
    return train_batches, validation_batches


def train(
    model: MulapForPreTraining,
    batches: DataLoader,
    args: TrainingArguments,
    accelerator: Accelerator,
    output_dir: Path,
) -> tuple[MulapForPreTraining, list[Skipped]]:
    """`args.max_steps` optimiser steps over as many epochs as they take."""
    collator = batches.collate_fn
    optimizer = make_optimizer(model, args)
    # Not prepared: accelerate would step it once per process, and the learning rate be at its end too early.
    schedule = make_schedule(optimizer, args)
    model, optimizer, batches = accelerator.prepare(model, optimizer, batches)
    model.train()
    skipped: dict[str, Skipped] = {}
    progress = tqdm(total=args.max_steps, unit="step", disable=not accelerator.is_main_process)
    step = epoch = 0
    with open(output_dir / "metrics.jsonl" if accelerator.is_main_process else os.devnull, "w") as log:
        while step < args.max_steps:
            collator.epoch = epoch
            batches.set_epoch(epoch)
            usable = 0
            for batch in batches:
                skipped.update({item.id: item for item in batch.pop("skipped")})
                ids = batch.pop("ids")
                # A batch of which one process can use nothing is left out by all, so that they stay in step.
                if accelerator.gather(torch.tensor([len(ids)], device=accelerator.device)).min() == 0:
                    continue
                usable += 1
                output = model(**batch)
                if not torch.isfinite(output.loss):
                    raise SystemExit(f"step {step}: the loss is {output.loss.item()} on the pairs {ids}")
                accelerator.backward(output.loss)
                accelerator.clip_grad_norm_(model.parameters(), args.max_grad_norm)
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
                step += 1
                losses = {
                    name: round(getattr(output, name).item(), 4)
                    for name in ("loss", "mlm_loss", "mam_loss", "matching_loss")
                }
                progress.update()
                progress.set_postfix({name.removesuffix("_loss"): value for name, value in losses.items()})
                if step % args.log_steps == 0 or step == args.max_steps:
                    row = {"step": step, "epoch": epoch, "learning_rate": schedule.get_last_lr()[0], **losses}
                    log.write(json.dumps(row) + "\n")
                    log.flush()
                if step == args.max_steps:
                    break
            if not usable:
                raise DataError(
                    f"no pair of the epoch could be used; the first reason: {next(iter(skipped.values()), None)}"
                )
            epoch += 1
    progress.close()
    return accelerator.unwrap_model(model), list(skipped.values())


def validate(model: MulapForPreTraining, batches: DataLoader, device: torch.device) -> dict[str, float]:
    inputs = ({k: v.to(device) for k, v in batch.items() if torch.is_tensor(v)} for batch in batches if batch["ids"])
    return evaluate_pretraining(model, tqdm(inputs, desc="validation", unit="batch", leave=False))


def report(metrics: dict[str, float], skipped: list[Skipped]):
    print("validation: " + ", ".join(f"{name} {value:.4f}" for name, value in metrics.items()))
    if skipped:
        print(f"{len(skipped)} pairs were skipped:", file=sys.stderr)
        for item in skipped:
            print(f"  {item}", file=sys.stderr)


def write_json(path: Path, content: dict):
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    try:
        main()
    except (ConversionError, DataError, OSError) as error:
        raise SystemExit(f"error: {error}") from None
