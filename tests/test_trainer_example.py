"""The audio classification example of transformers' documentation, with nothing changed but the name of the model."""

import numpy as np
import pytest
from datasets import Audio, ClassLabel, Dataset, DatasetDict, Features, List, Value
from helpers import RATE, micro_config, settle, write_tone
from transformers import (
    AutoFeatureExtractor,
    AutoModelForAudioClassification,
    Trainer,
    TrainingArguments,
    pipeline,
    set_seed,
)

from mulap_hf import MulapForPreTraining, load_audio

NAMES = ["quiet", "loud"]


@pytest.fixture
def checkpoint(processor, tmp_path) -> str:
    """A pre-trained model."""
    settle(MulapForPreTraining(micro_config())).save_pretrained(tmp_path / "pretrained")
    processor.save_pretrained(tmp_path / "pretrained")
    return str(tmp_path / "pretrained")


@pytest.fixture
def minds(tmp_path) -> DatasetDict:
    """An `Audio` column of files, decoded as torchcodec would decode it, and a `ClassLabel` column."""
    splits = {}
    for split, clips in (("train", 16), ("test", 8)):
        paths = [tmp_path / f"{split}-{index}.wav" for index in range(clips)]
        for index, path in enumerate(paths):
            write_tone(path, seconds=0.4 + 0.1 * (index % 5), seed=index)
        rows = {"audio": list(map(str, paths)), "intent_class": [index % 2 for index in range(clips)]}
        splits[split] = Dataset.from_dict(rows).cast_column("audio", Audio(decode=False))
    minds = DatasetDict(splits).cast_column("intent_class", ClassLabel(names=NAMES))

    def decode(example):
        samples = load_audio(example["audio"]["path"], RATE) * (0.1, 1)[example["intent_class"]]
        return {"audio": {"array": samples, "sampling_rate": RATE, "path": example["audio"]["path"]}}

    decoded = {"array": List(Value("float32")), "sampling_rate": Value("int64"), "path": Value("string")}
    return minds.map(decode, features=Features({"audio": decoded, "intent_class": ClassLabel(names=NAMES)}))


def test_the_example_of_transformers(checkpoint, minds, tmp_path):
    set_seed(0)
    labels = minds["train"].features["intent_class"].names
    label2id, id2label = {}, {}
    for i, label in enumerate(labels):
        label2id[label] = str(i)
        id2label[str(i)] = label

    feature_extractor = AutoFeatureExtractor.from_pretrained(checkpoint)

    def preprocess_function(examples):
        audio_arrays = [x["array"] for x in examples["audio"]]
        inputs = feature_extractor(
            audio_arrays, sampling_rate=feature_extractor.sampling_rate, max_length=16000, truncation=True
        )
        return inputs

    encoded_minds = minds.map(preprocess_function, remove_columns="audio", batched=True, batch_size=5)
    encoded_minds = encoded_minds.rename_column("intent_class", "label")

    def compute_metrics(eval_pred):
        predictions = np.argmax(eval_pred.predictions, axis=1)
        return {"accuracy": (predictions == eval_pred.label_ids).mean()}  # as evaluate.load("accuracy")

    num_labels = len(id2label)
    model = AutoModelForAudioClassification.from_pretrained(
        checkpoint, num_labels=num_labels, label2id=label2id, id2label=id2label
    )
    training_args = TrainingArguments(
        output_dir=str(tmp_path / "my_awesome_mind_model"),
        eval_strategy="epoch",
        save_strategy="epoch",
        learning_rate=1e-2,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=2,
        per_device_eval_batch_size=4,
        num_train_epochs=6,
        warmup_steps=0.1,
        logging_steps=10,
        load_best_model_at_end=True,
        metric_for_best_model="accuracy",
        report_to=[],
        use_cpu=True,
    )
    trainer = Trainer(
        model=model,
        args=training_args,
        train_dataset=encoded_minds["train"],
        eval_dataset=encoded_minds["test"],
        processing_class=feature_extractor,
        compute_metrics=compute_metrics,
    )
    trainer.train()
    assert trainer.evaluate()["eval_accuracy"] == 1

    trainer.save_model(tmp_path / "saved")
    classify = pipeline("audio-classification", model=str(tmp_path / "saved"), trust_remote_code=True)
    example = minds["test"][1]["audio"]
    assert classify(np.array(example["array"], dtype=np.float32))[0]["label"] == "loud"
