"""What scripts do before a `TrainingLoop`: the accelerator, the output folder, threads, loaders."""

import os
from collections.abc import Sequence
from typing import Any

import torch
from accelerate import Accelerator, DataLoaderConfiguration, DistributedType
from accelerate.utils import GradientAccumulationPlugin
from torch.utils.data import DataLoader
from transformers import PreTrainedModel

from ..data.loading import make_loader, training_loader
from ..data.streams import PairStream
from .arguments import FREE_OPTIONS, DataArguments, TrainingArguments
from .objective import Objective
from .run_folder import RunFolder
from .tracking import tracker_names


def make_accelerator(args: TrainingArguments) -> Accelerator:
    """The accelerator of a run; if `args.mixed_precision` is None, it is set to what accelerate is configured to."""
    trackers = tracker_names(args.trackers)
    accelerator = Accelerator(
        mixed_precision=args.mixed_precision,
        # The stream is endless, so accumulation must not depend on where an epoch ends.
        gradient_accumulation_plugin=GradientAccumulationPlugin(
            num_steps=args.gradient_accumulation_steps, sync_with_dataloader=False
        ),
        dataloader_config=DataLoaderConfiguration(dispatch_batches=False),
        log_with=trackers or None,
        project_dir=args.output_dir,
    )
    args.mixed_precision = accelerator.mixed_precision
    return accelerator


def open_folder(
    args: TrainingArguments,
    settings: dict[str, Any],
    accelerator: Accelerator,
    may_differ: Sequence[str] = FREE_OPTIONS,
) -> RunFolder | None:
    """The output folder, locked by the main process; the other processes wait for it."""
    folder = None
    if accelerator.is_main_process:
        folder = RunFolder.open(args.output_dir, settings, args.overwrite_output, may_differ)
    accelerator.wait_for_everyone()
    return folder


def use_threads(threads: int | None, accelerator: Accelerator):
    """Sets the number of threads on the CPU; default: the cores divided by the processes of this machine."""
    if accelerator.device.type == "cpu":
        processes = int(os.environ.get("LOCAL_WORLD_SIZE", accelerator.num_processes))
        torch.set_num_threads(threads or max(1, (os.cpu_count() or 1) // processes))


def make_loaders(
    train_pairs: PairStream,
    validation_pairs: PairStream,
    objective: Objective,
    model: PreTrainedModel,
    data_args: DataArguments,
    args: TrainingArguments,
    accelerator: Accelerator,
) -> tuple[DataLoader, DataLoader]:
    train_loader = training_loader(
        train_pairs,
        objective.make_collator(model.config, training=True),
        args.batch_size,
        data_args.num_workers,
        data_args.shuffle_buffer,
    )
    collator = objective.make_collator(model.config, training=False)
    # All processes read all rows, and each decodes a part of them. A sharded model needs equally many in each process.
    if accelerator.distributed_type not in (DistributedType.FSDP, DistributedType.DEEPSPEED):
        collator.share = (accelerator.process_index, accelerator.num_processes)
    validated = validation_pairs.dataset
    validation_loader = make_loader(
        validated if data_args.max_validation is None else validated.take(data_args.max_validation),
        collator,
        args.batch_size,
        num_workers=min(1, data_args.num_workers),  # with more, the batches would contain other rows
    )
    return train_loader, validation_loader
