"""Fine-tune a tagger or classifier on your own labels with transformers.Trainer.

python training/examples/fine_tune.py --model model_cards/mulap-tiny --data my_notes --output_dir outputs/tuned
"""

import argparse
from pathlib import Path

from mulap_hf.scripts import run_script


def main(arguments: list[str] | None = None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder or Hub name of a MuLaP model")
    parser.add_argument("--data", required=True, help="folder of class folders, or a prepared folder with one task")
    parser.add_argument("--output_dir", required=True, help="folder of the classifier")
    parser.add_argument("--epochs", type=float, default=10, help="passes over the data")
    parser.add_argument("--push_to_hub", metavar="ORG/NAME", help="publish the classifier under this name")
    args = parser.parse_args(arguments)

    import numpy as np
    import torch
    from datasets import load_dataset
    from transformers import AutoFeatureExtractor, AutoModelForAudioClassification, Trainer, TrainingArguments

    from mulap_hf.data.automatic import prepare_labeled
    from mulap_hf.pretraining.classification import PROBLEM_TYPES
    from mulap_hf.publishing.card import make_card
    from mulap_hf.transfer.tasks import open_task

    folder = prepare_labeled(args.data, "outputs/tasks")
    task, data = open_task(folder).task, load_dataset(str(folder))
    extractor = AutoFeatureExtractor.from_pretrained(args.model)
    labels = dict(enumerate(task.classes or task.columns))
    head = {"id2label": labels, "problem_type": PROBLEM_TYPES[task.kind]}
    head["label2id"] = {label: index for index, label in labels.items()}
    model = AutoModelForAudioClassification.from_pretrained(args.model, **head)

    def collate(rows: list[dict]) -> dict:
        clips, nine_seconds = [row["audio"] for row in rows], 9 * extractor.sampling_rate
        inputs = extractor(clips, resample=True, max_length=nine_seconds, truncation=True, return_tensors="pt")
        return {**inputs, "labels": torch.from_numpy(np.stack([task.target(row) for row in rows]))}

    arguments = TrainingArguments(
        args.output_dir, num_train_epochs=args.epochs, learning_rate=1e-3, warmup_steps=0.1, eval_strategy="epoch",
        save_strategy="epoch", load_best_model_at_end=True, remove_unused_columns=False, hub_model_id=args.push_to_hub,
    )  # fmt: skip
    trainer = Trainer(model, arguments, collate, data["train"], data["validation"], extractor)
    trainer.train()
    trainer.save_model()
    if args.push_to_hub:
        trainer.push_to_hub()
        run = {"method": "Fine-tuned by `transformers.Trainer`.", "chosen": "the epoch with the lowest loss"}
        run["model"] = {"name": args.model, "on_hub": not Path(args.model).exists()}
        make_card(Path(args.output_dir), {"run": run}, {}, args.push_to_hub).push_to_hub(args.push_to_hub)


if __name__ == "__main__":
    run_script(main)
