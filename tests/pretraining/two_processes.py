"""What one process computes on a batch, and two, run by torchrun, on its two parts: the same.

torchrun --standalone --nproc_per_node 2 tests/pretraining/two_processes.py RESULTS
"""

import sys
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import nn

sys.path.append(str(Path(__file__).parents[1]))
from helpers import inputs, micro_config, settle

from mulap_hf import MulapForPreTraining
from mulap_hf.modeling_mulap_distributed import gather_rows
from mulap_hf.modeling_mulap_losses import content_aware_weights, info_nce, nt_xent
from mulap_hf.pretraining.distributed import sum_over_processes, synchronize_batch_norm

ROWS = 6


def pretraining_model() -> nn.Module:
    streams = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    config = micro_config(text_config=streams, audio_config=streams, fusion_dropout_prob=0.0)
    return settle(MulapForPreTraining(config))


def pretraining_batch() -> dict:
    batch = inputs(ROWS, chunks=6)
    generator = torch.Generator().manual_seed(1)
    labeled = torch.rand(batch["input_ids"].shape, generator=generator) < torch.tensor([0.9, 0.1] * 3)[:, None]
    return batch | {
        "mlm_labels": torch.where(labeled & batch["attention_mask"].bool(), batch["input_ids"], -100),
        "masked_chunks": torch.rand(ROWS, 6, generator=generator) < 0.4,
        "matching_labels": torch.tensor([0, 1, -100, 0, 0, 1]),
    }


def pretraining_losses(model: nn.Module, batch: dict) -> list[tuple[torch.Tensor, int]]:
    """Each loss with the number of items that it is the mean of."""
    output = model(**batch)
    return [
        (output.mlm_loss, int((batch["mlm_labels"] != -100).sum())),
        (output.mam_loss, int((batch["masked_chunks"] & output.chunk_mask.bool()).sum())),
        (output.matching_loss, int((batch["matching_labels"] != -100).sum())),
    ]


def whole_model() -> nn.Module:
    """With all six terms."""
    streams = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    terms = {"projection_size": 16, "words_loss_weight": 1.0, "chunks_loss_weight": 1.0}
    config = micro_config(text_config=streams, audio_config=streams, fusion_dropout_prob=0.0, **terms)
    return settle(MulapForPreTraining(config))


def whole_batch() -> dict:
    """Clips of at most two chunks, so that the two that are compared are not random."""
    batch = pretraining_batch()
    clips = inputs(ROWS, chunks=2, seed=4)
    clips["audio_attention_mask"] = torch.ones_like(clips["audio_attention_mask"])
    clips["audio_attention_mask"][1, clips["input_values"].shape[1] // 2 :] = 0
    return batch | {
        **{name: clips[name] for name in ("input_values", "audio_attention_mask")},
        "masked_chunks": batch["masked_chunks"][:, :2],
        "caption_ids": torch.tensor([7, 2**60 + 1, 3, 2**60, 7, 2**60]),
        "word_ids": batch["input_ids"],
        "word_weights": torch.full(batch["input_ids"].shape, 0.1),
    }


def whole_losses(model: nn.Module, batch: dict) -> list[tuple[torch.Tensor, int]]:
    output = model(**batch)
    return [
        (output.mlm_loss, int((batch["mlm_labels"] != -100).sum())),
        (output.mam_loss, int((batch["masked_chunks"] & output.chunk_mask.bool()).sum())),
        (output.matching_loss, int((batch["matching_labels"] != -100).sum())),
        (output.contrastive_loss, int((batch["matching_labels"] == 0).sum())),
        (output.words_loss, len(batch["word_ids"])),
        (output.chunks_loss, len(output.chunk_views)),
    ]


def normed_model() -> nn.Module:
    norms = nn.Sequential(nn.BatchNorm1d(5, momentum=None), nn.Conv1d(5, 4, 3), nn.BatchNorm1d(4), nn.ReLU())
    return settle(nn.Sequential(norms, nn.Flatten(), nn.Linear(4 * 6, 3)))


def normed_batch() -> dict:
    return {"input": 3 + torch.randn(ROWS, 5, 8, generator=torch.Generator().manual_seed(2))}


def normed_losses(model: nn.Module, batch: dict) -> list[tuple[torch.Tensor, int]]:
    output = model(**batch)
    return [(output.square().sum() / max(1, len(output)), len(output))]


class Encoders(nn.Module):
    """Clips' and texts' vectors as they are, mapped, with a learned scale."""

    def __init__(self):
        super().__init__()
        self.audio, self.text = nn.Linear(7, 4), nn.Linear(5, 4)
        self.scale = nn.Parameter(torch.tensor(1.5))

    def forward(self, audio: torch.Tensor, text: torch.Tensor):
        return self.audio(audio), self.text(text), self.scale.exp()


def paired_batch() -> dict:
    generator = torch.Generator().manual_seed(3)
    audio, text = torch.randn(ROWS, 7, generator=generator), torch.randn(ROWS, 5, generator=generator)
    return {"audio": audio, "text": text, "text_ids": torch.tensor([7, 2**60 + 1, 3, 2**60, 7, 2**60])}


def paired_losses(model: nn.Module, batch: dict) -> list[tuple[torch.Tensor, int]]:
    audio, text, scale = model(batch["audio"], batch["text"])
    weights = content_aware_weights(batch["text"], temperature=0.3, across_processes=True)
    views = nt_xent(audio, text, 0.2, across_processes=True)
    pairs = info_nce(audio, text, scale, weights, batch["text_ids"], across_processes=True)
    return [(views, len(audio)), (pairs, len(audio))]


CASES = {
    "pretraining": (pretraining_model, pretraining_batch, pretraining_losses),
    "all terms": (whole_model, whole_batch, whole_losses),
    "batch norm": (normed_model, normed_batch, normed_losses),
    "contrastive": (lambda: settle(Encoders()), paired_batch, paired_losses),
}
# How many of the rows the first process gets. Without any, MuLaP itself has nothing to make a loss of.
SPLITS = [(c, s) for c in ("pretraining", "all terms") for s in (3, 4)] + [
    (c, s) for c in ("batch norm", "contrastive") for s in (3, 5, 6)
]


def step(case: str, rows: slice = slice(None), accelerator: Accelerator | None = None) -> dict[str, torch.Tensor]:
    """The losses of the whole batch and, by name, gradients and buffers, after a step on some of its rows."""
    make_model, make_batch, compute_losses = CASES[case]
    plain = synchronize_batch_norm(make_model()).train()
    model = plain if accelerator is None else accelerator.prepare(plain)
    losses = compute_losses(model, {name: values[rows] for name, values in make_batch().items()})
    counts = {str(index): count for index, (_, count) in enumerate(losses)}
    totals, processes = sum_over_processes(counts), sum_over_processes({"": 1})[""]
    shares = [loss * count / totals[name] for (loss, _), (name, count) in zip(losses, counts.items(), strict=True)]
    (sum(shares) * processes).backward()
    summed = sum_over_processes({f"loss {index}": share.item() for index, share in enumerate(shares)})
    gradients = {f"{name}.grad": value.grad for name, value in plain.named_parameters()}
    return {name: torch.tensor(value) for name, value in summed.items()} | gradients | dict(plain.named_buffers())


def main(path: str):
    accelerator = Accelerator(cpu=True)
    rank = accelerator.process_index
    joined, first = gather_rows(torch.full((3 * rank, 2), 2**60 + rank))
    sums = sum_over_processes({"odd": 2**24 + 1, "rank": rank})
    results = {"joined": joined, "first": accelerator.gather(torch.tensor([first])), "sums": sums}
    try:
        synchronize_batch_norm(nn.BatchNorm1d(3))(torch.randn(rank, 3))
    except ValueError as error:
        results["one value"] = str(error)
    if rank == 0:  # the other process does not take part: in eval mode none waits for it
        with torch.no_grad():
            results["alone"] = [loss for loss, _ in whole_losses(whole_model(), whole_batch())]
    for case, size in SPLITS:
        rows = slice(0, size) if rank == 0 else slice(size, None)
        results[case, size] = step(case, rows, accelerator)
    if accelerator.is_main_process:
        torch.save(results, path)
    accelerator.end_training()


if __name__ == "__main__":
    main(sys.argv[1])
