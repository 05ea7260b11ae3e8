"""Evaluate a classifier on a test split with transformers.Trainer and this package's metrics.

python training/examples/evaluate.py --model outputs/tuned --data my_notes
"""

import argparse

from mulap_hf.scripts import run_script


def main(arguments: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder or Hub name of a classifier")
    parser.add_argument("--data", required=True, help="folder of class folders, or a prepared folder with one task")
    parser.add_argument("--split", default="test", help="split to evaluate")
    args = parser.parse_args(arguments)

    import tempfile

    import numpy as np
    import torch
    from datasets import load_dataset
    from transformers import AutoFeatureExtractor, AutoModelForAudioClassification, Trainer, TrainingArguments

    from mulap_hf.data.automatic import prepare_labeled
    from mulap_hf.metrics.scores import score
    from mulap_hf.transfer.tasks import open_task

    folder = prepare_labeled(args.data, "outputs/tasks")
    task, data = open_task(folder).task, load_dataset(str(folder), split=args.split)
    extractor = AutoFeatureExtractor.from_pretrained(args.model)

    def collate(rows: list[dict]) -> dict:
        inputs = extractor([row["audio"] for row in rows], resample=True, return_tensors="pt")
        return {**inputs, "labels": torch.from_numpy(np.stack([task.target(row) for row in rows]))}

    def metrics(found) -> dict[str, float]:
        return score(task.kind, found.label_ids, found.predictions)

    with tempfile.TemporaryDirectory() as place:
        trainer = Trainer(
            AutoModelForAudioClassification.from_pretrained(args.model),
            TrainingArguments(place, remove_unused_columns=False),
            collate,
            eval_dataset=data,
            compute_metrics=metrics,
        )
        found = trainer.evaluate()
    for name, value in found.items():
        print(f"{name.removeprefix('eval_')}: {value:.4g}")
    return found


if __name__ == "__main__":
    run_script(main)
