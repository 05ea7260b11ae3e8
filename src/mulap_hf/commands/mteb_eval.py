"""Evaluation by MTEB from start to end: the model, the tasks, the scores, and the model card."""

import sys
import warnings
from collections.abc import Sequence

import mteb
from huggingface_hub import EvalResult
from mteb.abstasks import AbsTask
from mteb.results import TaskResult

from ..errors import DataError
from ..files import make_folder, markdown_table
from ..mteb_evaluation.arguments import MUSIC, MtebArguments
from ..mteb_evaluation.model import MulapEncoder, contribution
from ..mteb_evaluation.tasks import named_tasks, prepared_tasks
from ..publishing.arguments import Destination
from ..publishing.hub import check_destination, push_scores
from ..publishing.mteb_scores import MTEB_URL, SCORES_NAME, store_scores, update_card


def mteb_eval(args: MtebArguments):
    """Evaluate a model on tasks of MTEB; the main function of `training/mteb_eval.py`.

    Raises:
        ModelError: The model cannot be loaded.
        DataError: A task or the folder of `--data` cannot be used, or the datasets of some tasks cannot be downloaded.
            The scores of the other tasks are stored.
        PublishError: The Hub does not accept changes of the model from this user, or refuses the card.
    """
    if args.push_to_hub:
        check_destination(Destination(args.model))
    encoder = MulapEncoder(args.model, args.device)
    modalities = encoder.mteb_model_meta.modalities
    if args.data is None:
        tasks, left_out = named_tasks(args.tasks or [MUSIC], modalities)
        if left_out:
            print(f"left out, because they need more than {' and '.join(modalities)}: {', '.join(left_out)}")
    else:
        tasks = prepared_tasks(args.data, args.tasks, modalities)
    folder = make_folder(args.folder, "--output_dir")
    (folder / "model_meta.py").write_text(contribution(encoder.mteb_model_meta), encoding="utf-8")
    results, failed = _evaluate(encoder, tasks, mteb.ResultCache(folder), args.batch_size)
    found = [score for task, result in results for score in _scores(task, result)]
    print(markdown_table(("task", "split", "metric", "score"), map(_row, found)))
    stored = store_scores(folder / SCORES_NAME, found, encoder.weights)
    card = folder.parent / "README.md"
    if folder.name == "mteb" and card.is_file() and stored:
        update_card(card, stored)
        print(f"The model card {card} has the scores.")
    if args.push_to_hub and stored:
        print(f"Model card: {push_scores(args.model, stored)}")
    print(f"Written to {folder}: {SCORES_NAME}, model_meta.py, and results/ in the format of MTEB")
    if failed:
        raise DataError(
            f"{len(failed)} of {len(tasks)} tasks cannot be evaluated, because their datasets cannot be downloaded: "
            f"{', '.join(failed)}. Repeat the command where huggingface.co can be reached, or evaluate a folder on "
            "this machine with --data"
        )


def _evaluate(
    encoder: MulapEncoder, tasks: Sequence[AbsTask], cache: mteb.ResultCache, batch_size: int
) -> tuple[list[tuple[AbsTask, TaskResult]], list[str]]:
    """The results of the tasks, and the names of those whose data cannot be downloaded."""
    results, failed = [], []
    for number, task in enumerate(tasks, start=1):
        name = task.metadata.name
        print(f"{number} of {len(tasks)}: {name}", file=sys.stderr)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about what models and tasks could have besides
                done = mteb.evaluate(encoder, task, cache=cache, encode_kwargs={"batch_size": batch_size})
        except ConnectionError:  # what datasets raises without a network, after its retries
            failed.append(name)
            continue
        results.append((task, done.task_results[0]))
    return results, failed


def _scores(task: AbsTask, result: TaskResult) -> list[EvalResult]:
    """The main score of every split and subset."""
    metadata = task.metadata
    return [
        EvalResult(
            task_type="audio-classification"
            if metadata.simplified_task_type == "classification"
            else "feature-extraction",
            task_name=metadata.type,
            dataset_type=metadata.dataset["path"],
            dataset_name=metadata.name,
            dataset_config=metadata.dataset.get("name", scores["hf_subset"]),
            dataset_split=split,
            dataset_revision=metadata.dataset["revision"],
            metric_type=metadata.main_score,
            metric_name=metadata.main_score,
            metric_value=round(float(scores["main_score"]), 5),
            source_name="MTEB",
            source_url=MTEB_URL,
        )
        for split, subsets in result.scores.items()
        for scores in subsets
    ]


def _row(score: EvalResult) -> tuple:
    return score.dataset_name, score.dataset_split, score.metric_name, f"{score.metric_value:.3f}"
