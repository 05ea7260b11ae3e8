"""The training loop: steps, evaluations, checkpoints, and resuming."""

import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import torch
from accelerate import Accelerator, DistributedType
from torch.utils.data import DataLoader
from tqdm import tqdm
from transformers.utils import logging

from ..data.loading import BatchStream, batches_of
from ..data.schema import Skipped
from ..errors import DataError, Interrupted, RunError
from .arguments import TrainingArguments
from .checkpoints import Checkpoints
from .distributed import sum_over_processes
from .evaluation import collapse_warning, evaluate
from .objective import Objective
from .optimization import make_optimizer, make_schedule
from .tracking import RunLog

logger = logging.get_logger(__name__)


@dataclass
class Progress:
    """State of the run that is stored in a checkpoint."""

    data: int | None  # fingerprint of the training data
    step: int = 0
    best_step: int | None = None  # of the best model
    best_value: float | None = None
    worse_evaluations: int = 0  # since the best one
    seconds: float = 0.0


class TrainingLoop:
    """Trains for `args.max_steps` optimizer steps, or until `args.patience` evaluations brought no improvement.

    Training starts from the last checkpoint in the folder if there is one.

    Args:
        objective: of the training.
        model: made by the objective.
        train_loader: batches of the training data, with a `ClipCollator`.
        validation_loader: the batches of the validation data for this process, the same each time.
        accelerator, args: of the run.
        folder: of the run.
        fingerprint: of the training data; a run is not resumed with other data.

    validation_skipped: items that the last evaluation could not use, by id.
    """

    def __init__(
        self,
        objective: Objective,
        model: torch.nn.Module,
        train_loader: DataLoader,
        validation_loader: DataLoader,
        accelerator: Accelerator,
        args: TrainingArguments,
        folder: Path,
        fingerprint: int | None = None,
    ):
        self.objective = objective
        self.accelerator = accelerator
        self.args = args
        self.validation_loader = validation_loader
        self.weights = objective.loss_weights(model.config)
        optimizer = make_optimizer(model, args)
        # Not prepared: accelerate would step it once per process, so the learning rate would fall too early.
        self.schedule = make_schedule(optimizer, args)
        accelerator.register_for_checkpointing(self.schedule)
        collator = train_loader.collate_fn
        self.model, self.optimizer, train_loader = accelerator.prepare(model, optimizer, train_loader)
        self.stream = BatchStream(train_loader, collator)
        (folder / "checkpoints").mkdir(exist_ok=True)
        self.checkpoints = Checkpoints(folder / "checkpoints", args.keep_checkpoints)
        self.progress = Progress(fingerprint)
        self._resume(fingerprint)
        self.log = RunLog(folder, accelerator, self.progress.step)
        self.validation_skipped: dict[str, Skipped] = {}
        self._stopping = False

    def _resume(self, fingerprint: int | None):
        checkpoint = self.checkpoints.latest()
        if checkpoint is None:
            return
        state, position = self.checkpoints.load(self.accelerator, checkpoint)
        self.progress = Progress(**state)
        if self.progress.data != fingerprint:
            raise RunError(
                f"{checkpoint}: the training data has changed since: restore it, or start again with "
                "--overwrite_output"
            )
        self.stream.load_state_dict(position)
        if self.accelerator.is_main_process:
            print(f"Resuming after step {self.progress.step}, from {checkpoint}")

    def run(self) -> Progress:
        """Trains.

        Returns:
            The state at the end; its `best_step` is the step of the best model.

        Raises:
            RunError: a loss or gradient is not finite.
            Interrupted: SIGINT or SIGTERM was received; a checkpoint has been saved.
            DataError: none of the training or validation data can be used.
        """
        batches = iter(self.stream)
        bar = tqdm(
            total=self.args.max_steps,
            initial=self.progress.step,
            unit="step",
            disable=not self.accelerator.is_main_process,
        )
        self._started, self._clips = time.perf_counter(), 0
        self.model.train()
        with bar, self._noticing_signals():
            while not self._is_done():
                losses = self._step(batches)
                self.progress.step += 1
                bar.update()
                if self._due(self.args.log_steps):
                    means = losses()
                    bar.set_postfix({name.removesuffix("_loss"): f"{loss:.4g}" for name, loss in means.items()})
                    self._record(means)
                if self._due(self.args.eval_steps):
                    self._evaluate()
                if self._due(self.args.checkpoint_steps) or self._stopping:
                    self._save()
                if self._stopping and not self._is_done():
                    command = "the command without --overwrite_output" if self.args.overwrite_output else "the command"
                    raise Interrupted(f"interrupted after step {self.progress.step}; repeat {command} to resume")
        if self.progress.best_step is None:
            raise RunError(
                f"{self.objective.chosen_by} was not finite in any evaluation, so no model was chosen: see "
                f"{self.log.path}; the last checkpoint is a model, too"
            )
        return self.progress

    def _is_done(self) -> bool:
        patience = self.args.patience
        stuck = patience is not None and self.progress.worse_evaluations >= patience
        return stuck or self.progress.step >= self.args.max_steps

    def _due(self, steps: int) -> bool:
        return self.progress.step % steps == 0 or self.progress.step == self.args.max_steps

    def _step(self, batches: Iterator[dict]) -> Callable[[], dict[str, float]]:
        """Takes an optimizer step; returns a function that computes the mean losses of all processes."""
        parts = list(islice(batches, self.args.gradient_accumulation_steps))
        tensors = [{name: value for name, value in part.items() if torch.is_tensor(value)} for part in parts]
        counts = [self.objective.count(part) for part in tensors]
        totals = {name: sum(count[name] for count in counts) for name in self.weights}
        totals = sum_over_processes(
            totals | {"clips": sum(len(part["ids"]) for part in parts), "stop": self._asked_to_stop}
        )
        self._clips += totals.pop("clips")
        self._stopping = totals.pop("stop") > 0  # if one process was asked to, all stop after the same step
        sums = dict.fromkeys(self.weights, 0.0)
        # DDP takes the mean over the processes, accelerate over the parts. Both are undone, because each loss is to be
        # the mean over the items of the whole step.
        means_taken = self.accelerator.num_processes * len(parts)
        for part, inputs, count in zip(parts, tensors, counts, strict=True):
            with self.accelerator.accumulate(self.model):
                losses = self.objective.terms(self.objective.forward(self.model, inputs))
                fraction = {name: count[name] / max(1, totals[name]) for name in self.weights}
                loss = sum(weight * fraction[name] * losses[name] for name, weight in self.weights.items())
                if not torch.isfinite(loss):
                    values = ", ".join(f"{name} {loss.item():.4g}" for name, loss in losses.items())
                    raise RunError(
                        f"step {self.progress.step}: the loss is not finite ({values}), on the items {part['ids']}: "
                        "listen to them, or lower --learning_rate"
                    )
                self.accelerator.backward(loss * means_taken)
                if self.accelerator.sync_gradients:
                    self._clip_gradient(part["ids"])
                self.optimizer.step()
                self.optimizer.zero_grad()
            for name in sums:
                sums[name] += fraction[name] * losses[name].detach()
        if not self.optimizer.step_was_skipped:  # by fp16, while it searches for a scale
            self.schedule.step()
        return lambda: self._global_losses(sums)

    def _clip_gradient(self, ids: list[str]):
        norm = self.accelerator.clip_grad_norm_(self.model.parameters(), self.args.max_grad_norm)
        self._gradient_norm = math.nan if norm is None else float(norm)  # DeepSpeed clips and returns None
        if norm is None or self.accelerator.mixed_precision == "fp16":  # which skips such steps
            return
        if not math.isfinite(self._gradient_norm):
            raise RunError(
                f"step {self.progress.step}: the gradient is not finite ({norm:.4g}), last on the items {ids}: listen "
                "to them, or lower --learning_rate"
            )

    def _global_losses(self, sums: dict[str, torch.Tensor]) -> dict[str, float]:
        losses = sum_over_processes({name: float(value) for name, value in sums.items()})
        return {"loss": sum(weight * losses[name] for name, weight in self.weights.items())} | losses

    def _record(self, losses: dict[str, float]):
        now = time.perf_counter()
        seconds, self._started = now - self._started, now
        self.progress.seconds += seconds
        speed = {"clips_per_second": self._clips / seconds}
        self._clips = 0
        rates = {"learning_rate": self.schedule.get_last_lr()[0], "gradient_norm": self._gradient_norm}
        self.log.add("train", self.progress.step, self.stream.epoch, losses | rates | speed)

    def _evaluate(self):
        # All processes must call a sharded model together, and wrapped.
        is_sharded = self.accelerator.distributed_type in (DistributedType.FSDP, DistributedType.DEEPSPEED)
        model = self.model if is_sharded else self.accelerator.unwrap_model(self.model)
        batches = self._validation_batches()
        metrics = evaluate(self.objective, model, batches, self.accelerator, is_shared_out=not is_sharded)
        if not metrics:
            reason = next(iter(self.validation_skipped.values()), None)
            raise DataError(f"none of the validation data can be used; the first reason: {reason}")
        self.log.add("validation", self.progress.step, self.stream.epoch, metrics)
        warning = collapse_warning(metrics)
        if warning:
            logger.warning(f"step {self.progress.step}: {warning}")
        value, best = metrics.get(self.objective.chosen_by), self.progress.best_value
        if value is None or math.isnan(value):
            return
        is_better = best is None or (value > best if self.objective.highest_is_best else value < best)
        if is_better:
            self.progress.best_value = value
        self.progress.worse_evaluations = 0 if is_better else self.progress.worse_evaluations + 1
        if is_better or self.args.keep_last:
            self.progress.best_step = self.progress.step
            self.checkpoints.save_best(self.accelerator, self._exporter(), metrics)

    def _validation_batches(self) -> Iterator[dict]:
        self.validation_loader.collate_fn.begin(0)
        for batch in tqdm(
            batches_of(self.validation_loader),
            desc="validation",
            unit="batch",
            leave=False,
            disable=not self.accelerator.is_main_process,
        ):
            self.validation_skipped.update({item.id: item for item in batch["skipped"]})
            yield batch

    def _save(self):
        self.checkpoints.save(
            self.accelerator, self.progress.step, asdict(self.progress), self.stream.state_dict(), self._exporter()
        )

    def _exporter(self) -> Callable[[Path], None]:
        """A function that saves the model for users. All processes call this, because a sharded model is gathered."""
        state = self.accelerator.get_state_dict(self.model)
        model = self.accelerator.unwrap_model(self.model)
        exported = self.objective.export(model)
        prefix = next(f"{name}." if name else "" for name, module in model.named_modules() if module is exported)
        state = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}

        def export(path: Path):
            exported.save_pretrained(path, state_dict=state)
            self.objective.preprocessor.save_pretrained(path)

        return export

    @contextmanager
    def _noticing_signals(self):
        self._asked_to_stop = False

        def stop(*_):
            self._asked_to_stop = True

        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
