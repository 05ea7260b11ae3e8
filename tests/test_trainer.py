"""transformers.Trainer: the same steps as our loop, with gradient accumulation, and predictions that are logits."""

import pytest
import torch
from helpers import inputs, micro_config, settle
from torch.utils.data import DataLoader
from transformers import Trainer
from transformers import TrainingArguments as TrainerArguments

from mulap_hf import MulapForAudioClassification, MulapForPreTraining
from mulap_hf.data.clips import ClipCollator
from mulap_hf.pretraining.arguments import DataArguments, ModelArguments, TrainingArguments
from mulap_hf.pretraining.loop import TrainingLoop
from mulap_hf.pretraining.objective import find_objective
from mulap_hf.pretraining.optimization import make_optimizer, make_schedule
from mulap_hf.pretraining.runs import make_accelerator

STEPS = 3
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
TERMS = {"projection_size": 16, "matching_similarity": True, "words_loss_weight": 1.0, "chunks_loss_weight": 2.0}


def trainer_arguments(folder, **options) -> TrainerArguments:
    defaults = {"report_to": [], "use_cpu": True, "save_strategy": "no", "disable_tqdm": True, "logging_steps": 1}
    return TrainerArguments(str(folder), **defaults | options)


def pretraining_batch(seed: int) -> dict[str, torch.Tensor]:
    """Other clips and texts for each seed, with as many labels: Trainer takes the mean over accumulated batches."""
    batch = inputs(batch=4, seed=seed)
    return batch | {
        "audio_attention_mask": torch.ones_like(batch["audio_attention_mask"]),
        "mlm_labels": torch.where(torch.arange(10) < 3, batch["input_ids"], -100),
        "masked_chunks": torch.tensor([[0, 1, 0], [1, 0, 0], [1, 0, 0], [0, 0, 0]]).bool(),
        "caption_ids": torch.tensor([1, 2, 1, 3]),
        "word_ids": batch["input_ids"],
        "word_weights": torch.full((4, 10), 0.1),
    }


class Ready(ClipCollator):
    """Batches that are made already."""

    def __call__(self, rows: list[dict]) -> dict:
        return {"ids": ["0"], "skipped": [], "worker": 0} | rows[0]


def recording(model: MulapForPreTraining) -> tuple[MulapForPreTraining, list[dict[str, float]]]:
    """The model with settled weights, and the terms of its forward passes in training, whose random draws repeat."""
    model, seen = settle(model), []

    def seed(module, args):
        if module.training:
            torch.manual_seed(len(seen))

    def record(module, args, output):
        if module.training:
            seen.append({name: value.item() for name, value in output.items() if name.endswith("loss")})

    model.register_forward_pre_hook(seed)
    model.register_forward_hook(record)
    return model, seen


@pytest.mark.parametrize(("negatives", "accumulated"), [("random", 1), ("hard", 1), ("random", 2)])
def test_trainer_takes_the_steps_of_our_loop(negatives, accumulated, processor, tmp_path):
    config = micro_config(
        text_config=NO_DROPOUT, audio_config=NO_DROPOUT, fusion_dropout_prob=0.0, matching_negatives=negatives, **TERMS
    )
    args = TrainingArguments(
        max_steps=STEPS,
        learning_rate=1e-3,
        warmup_share=0.4,
        max_grad_norm=0.5,
        gradient_accumulation_steps=accumulated,
    )
    batches = [pretraining_batch(seed) for seed in range(STEPS * accumulated)]

    kind = find_objective("mulap")
    objective = kind(ModelArguments(), DataArguments(), args, processor.feature_extractor, None, processor.tokenizer)
    ours, expected = recording(objective.make_model(config))
    loader = DataLoader(batches, batch_size=1, collate_fn=Ready())
    loop = TrainingLoop(objective, ours, loader, loader, make_accelerator(args), args, tmp_path)
    loop._evaluate = lambda: setattr(loop.progress, "best_step", STEPS)
    loop.run()

    theirs, found = recording(MulapForPreTraining(config))
    optimizer = make_optimizer(theirs, args)
    trainer = Trainer(
        theirs,
        trainer_arguments(
            tmp_path, max_steps=STEPS, max_grad_norm=args.max_grad_norm, gradient_accumulation_steps=accumulated
        ),
        train_dataset=batches,
        optimizers=(optimizer, make_schedule(optimizer, args)),
    )
    trainer.get_train_dataloader = lambda: DataLoader(batches, batch_size=1, collate_fn=lambda rows: rows[0])
    trainer.train()

    assert len(expected) == len(found) == STEPS * accumulated
    for ours_of_step, theirs_of_step in zip(expected, found, strict=True):
        assert ours_of_step.keys() == theirs_of_step.keys() == {"loss", *config.loss_weights()}
        assert theirs_of_step == pytest.approx(ours_of_step, rel=1e-6)
    with torch.no_grad():
        after = [
            model.eval()(**pretraining_batch(9), matching_labels=torch.tensor([0, 1, 0, 1]))
            for model in (ours, theirs)
        ]
    for name in ("loss", *config.loss_weights()):
        assert after[1][name].item() == pytest.approx(after[0][name].item(), rel=1e-6), name


def test_accumulated_batches_are_one_batch(tmp_path):
    """Of a classifier, whose frozen backbone normalizes without looking at the batch."""
    clips = inputs(batch=8)["input_values"]
    rows = [{"input_values": clip, "labels": index % 2} for index, clip in enumerate(clips)]
    steps = {}
    for accumulated, size in ((1, 8), (4, 2)):
        model = settle(MulapForAudioClassification(micro_config(num_labels=2, freeze_audio=True)))
        before = [value.detach().clone() for value in model.classifier.parameters()]
        options = {"per_device_train_batch_size": size, "gradient_accumulation_steps": accumulated, "max_steps": 1}
        arguments = trainer_arguments(tmp_path, **options, max_grad_norm=0, optim="sgd", learning_rate=1e-3)
        trainer = Trainer(model, arguments, train_dataset=rows)
        trainer.train()
        steps[accumulated] = [
            after - value for after, value in zip(model.classifier.parameters(), before, strict=True)
        ]
        steps[accumulated].append(torch.tensor(trainer.state.log_history[0]["loss"]))
    for one, several in zip(steps[1], steps[4], strict=True):
        torch.testing.assert_close(several, one, rtol=1e-4, atol=1e-8)


def test_predictions_are_the_logits(tmp_path):
    clips = inputs(batch=4)["input_values"]
    model = settle(MulapForAudioClassification(micro_config(num_labels=2)))
    rows = [{"input_values": clip, "labels": index % 2} for index, clip in enumerate(clips)]

    def accuracy(predicted):
        return {"accuracy": (predicted.predictions.argmax(axis=1) == predicted.label_ids).mean()}

    arguments = trainer_arguments(tmp_path, per_device_eval_batch_size=2)
    predicted = Trainer(model, arguments, compute_metrics=accuracy).predict(rows)
    with torch.no_grad():
        logits = model.eval()(clips).logits
    torch.testing.assert_close(torch.from_numpy(predicted.predictions), logits)
    expected = (logits.argmax(dim=1) == torch.tensor([0, 1, 0, 1])).float().mean().item()
    assert predicted.metrics["test_accuracy"] == pytest.approx(expected)


def test_predictions_of_pre_training_are_the_matching_logits(tmp_path):
    config = micro_config(matching_negatives="random", **TERMS)
    model = settle(MulapForPreTraining(config))
    batches = [pretraining_batch(seed) | {"matching_labels": torch.tensor([0, 1, 0, 0])} for seed in range(2)]
    trainer = Trainer(model, trainer_arguments(tmp_path, label_names=["mlm_labels"], per_device_eval_batch_size=1))
    trainer.get_test_dataloader = lambda _: DataLoader(batches, batch_size=1, collate_fn=lambda rows: rows[0])
    predicted = trainer.predict(batches)
    with torch.no_grad():
        outputs = [model.eval()(**batch) for batch in batches]
    expected = torch.cat([output.matching_logits for output in outputs])
    torch.testing.assert_close(torch.from_numpy(predicted.predictions), expected)
    assert predicted.metrics["test_loss"] == pytest.approx(sum(output.loss.item() for output in outputs) / 2, rel=1e-5)
