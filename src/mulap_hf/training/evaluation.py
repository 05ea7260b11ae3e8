"""How well a model does its proxy tasks on held-out pairs."""

from collections.abc import Iterable

import torch

from ..modeling_mulap import IGNORED_LABEL, MulapForPreTraining


@torch.no_grad()
def evaluate_pretraining(model: MulapForPreTraining, batches: Iterable[dict]) -> dict[str, float]:
    """Losses and scores over all batches, each weighted by what it is a mean of.

    Args:
        model: put into eval mode, and left in the mode it had.
        batches: inputs of the model with all labels, on its device.

    Returns:
        Per task a loss, and `mlm_accuracy`, `matching_accuracy` and `mam_r2`: how much better the predicted features
        are than their mean over the masked chunks, 1 = perfect, 0 = no better. A task without labels is left out.
    """
    was_training = model.training
    model.eval()
    totals: dict[str, float] = {}
    predictions, targets = [], []

    def add(name: str, value: torch.Tensor, weight: int):
        totals[name] = totals.get(name, 0.0) + float(value) * weight
        totals[f"{name}/weight"] = totals.get(f"{name}/weight", 0.0) + weight

    for batch in batches:
        output = model(**batch)
        labels = batch["mlm_labels"][batch["mlm_labels"] != IGNORED_LABEL]
        matching, masked = batch["matching_labels"], batch["masked_chunks"] & output.chunk_mask.bool()
        if len(labels):
            add("mlm_loss", output.mlm_loss, len(labels))
            add("mlm_accuracy", (output.mlm_logits.argmax(-1) == labels).float().mean(), len(labels))
        add("matching_loss", output.matching_loss, len(matching))
        add("matching_accuracy", (output.matching_logits.argmax(-1) == matching).float().mean(), len(matching))
        if masked.any():
            add("mam_loss", output.mam_loss, int(masked.sum()))
            predictions.append(output.mam_predictions[masked].float().cpu())
            targets.append(output.chunk_features[masked].float().cpu())
    metrics = {
        name: value / totals[f"{name}/weight"] for name, value in totals.items() if not name.endswith("/weight")
    }
    if targets:
        predicted, target = torch.cat(predictions), torch.cat(targets)  # (masked, features)
        residual = (target - predicted).square().sum()
        spread = (target - target.mean(dim=0)).square().sum()
        if spread > 0:
            metrics["mam_r2"] = float(1 - residual / spread)
    model.train(was_training)
    return metrics
