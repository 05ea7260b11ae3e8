"""A training run of milliseconds, for this process and others."""

from pathlib import Path

import torch
from accelerate import Accelerator

from mulap_hf.pretraining.arguments import TrainingArguments
from mulap_hf.pretraining.checkpoints import Checkpoints
from mulap_hf.pretraining.optimization import make_optimizer, make_schedule

STATE = {"epoch": 3, "best": {"step": 80, "loss": 0.1 + 0.2}}
LOCAL = {"batch": 7, "skipped": ["a.wav"]}


class Trained:
    """What a run consists of: a model, AdamW, a schedule, random generators."""

    def __init__(self, make_model=lambda: torch.nn.Linear(3, 2), seed: int = 0):
        torch.manual_seed(seed)
        args = TrainingArguments(learning_rate=0.01, max_steps=10)
        self.accelerator = Accelerator(cpu=True)
        self.model = make_model()
        optimizer = make_optimizer(self.model, args)
        self.schedule = make_schedule(optimizer, args)
        self.model, self.optimizer = self.accelerator.prepare(self.model, optimizer)
        self.accelerator.register_for_checkpointing(self.schedule)

    def train(self, steps: int, loss=lambda model: model(torch.rand(4, 3)).square().sum()):
        for _ in range(steps):
            self.accelerator.backward(loss(self.model))
            self.optimizer.step()
            self.schedule.step()
            self.optimizer.zero_grad()

    def save(self, checkpoints: Checkpoints, step: int, export=None):
        checkpoints.save(self.accelerator, step, STATE, LOCAL, export or self.export)

    def save_best(self, checkpoints: Checkpoints, loss: float):
        checkpoints.save_best(self.accelerator, self.export, {"loss": loss})

    def export(self, path: Path):
        (path / "config.json").write_text("{}")

    def tensors(self) -> list[torch.Tensor]:
        moments = [value for slots in self.optimizer.state_dict()["state"].values() for value in slots.values()]
        return [value.clone() for value in [*self.model.state_dict().values(), *moments]]
