"""Pre-train MuLaP on described audio with transformers.Trainer: all terms of the loss, and this package's collator.

python training/examples/pretrain.py --data my_catalog --output_dir outputs/pretrained --max_steps 1500

training/pretrain.py does the same with exact resumption, several objectives, reports and several processes.
"""

import argparse

from mulap_hf.scripts import run_script


def main(arguments: list[str] | None = None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="audio with descriptions: a table, a folder, a dataset")
    parser.add_argument("--output_dir", required=True, help="folder of the model")
    parser.add_argument("--preset", default="tiny", help="size of the model: tiny, small or published")
    parser.add_argument("--max_steps", type=int, default=1500, help="steps of the optimizer")
    parser.add_argument("--batch_size", type=int, default=48, help="clips per step")
    args = parser.parse_args(arguments)

    import torch
    from transformers import Trainer, TrainingArguments

    from mulap_hf import MulapConfig, MulapFeatureExtractor, MulapForPreTraining, MulapProcessor
    from mulap_hf.data.collator import PreTrainingCollator, word_importance
    from mulap_hf.data.streams import open_pairs
    from mulap_hf.tokenization import train_tokenizer

    train, validation = open_pairs(args.data).hold_out(0.1)
    captions = train.captions()
    tokenizer = train_tokenizer(captions)
    processor = MulapProcessor(MulapFeatureExtractor(), tokenizer)
    terms = {"projection_size": 96, "words_loss_weight": 1.0, "chunks_loss_weight": 2.0}  # besides the paper's three
    config = MulapConfig.from_preset(args.preset, text_config={"vocab_size": len(tokenizer)}, **terms)
    importance = word_importance(tokenizer, captions)
    sizes = {"chunk_length": config.audio_config.chunk_length, "clip_seconds": 6}
    collator = PreTrainingCollator(processor=processor, importance=importance, **sizes)

    def collate(rows: list[dict]) -> dict[str, torch.Tensor]:
        return {name: value for name, value in collator(rows).items() if isinstance(value, torch.Tensor)}

    def metrics(found) -> dict[str, float]:
        return {"matching_accuracy": (found.predictions.argmax(axis=1) == found.label_ids).mean()}

    arguments = TrainingArguments(
        args.output_dir, max_steps=args.max_steps, per_device_train_batch_size=args.batch_size, learning_rate=1e-3,
        warmup_steps=0.1, eval_strategy="steps", eval_steps=0.1, save_steps=0.1, logging_steps=0.02,
        remove_unused_columns=False, label_names=["matching_labels"], accelerator_config={"dispatch_batches": False},
    )  # fmt: skip
    rows = train.dataset.shuffle(seed=0, buffer_size=1000)
    model = MulapForPreTraining(config)
    trainer = Trainer(model, arguments, collate, rows, validation.dataset, processor, compute_metrics=metrics)
    trainer.train()
    trainer.save_model()


if __name__ == "__main__":
    run_script(main)
