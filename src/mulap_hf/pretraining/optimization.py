"""Optimizer and learning-rate schedule."""

import torch
from torch import nn
from transformers import get_scheduler

from .arguments import TrainingArguments


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Trainable parameters in two groups: weights with weight decay, biases and norms without."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in trainable if p.dim() > 1], "weight_decay": weight_decay},
        {"params": [p for p in trainable if p.dim() <= 1], "weight_decay": 0.0},
    ]


def make_optimizer(model: nn.Module, args: TrainingArguments) -> torch.optim.AdamW:
    """AdamW with the paper's betas (Manco et al., 2022, section 3.2)."""
    return torch.optim.AdamW(
        parameter_groups(model, args.weight_decay), lr=args.learning_rate, betas=(0.9, 0.98), eps=1e-8
    )


def make_schedule(optimizer: torch.optim.Optimizer, args: TrainingArguments):
    """Linear warm-up, then as `args.schedule` says."""
    return get_scheduler(
        args.schedule,
        optimizer,
        num_warmup_steps=round(args.warmup_share * args.max_steps),
        num_training_steps=args.max_steps,
    )
