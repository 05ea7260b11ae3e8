"""How the models of the benchmark were pre-trained: the options in which they differ."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..files import markdown_table
from ..settings import TRAINING_SETTINGS
from ..transfer.features import TIMBRE

_PATHS = ("train_data", "backbone", "text_model")  # shown without most of the folders of this machine
_NOT_LEARNT = {  # options that do not change what a model learns
    *("output_dir", "overwrite_output", "cpu_threads", "num_workers", "trackers"),
    *("log_steps", "eval_steps", "checkpoint_steps", "keep_checkpoints", "validation_data", "max_validation"),
}


def training_options(model: str) -> dict[str, Any]:
    """The options of the pre-training of a folder; empty if it does not say.

    Args:
        model: Folder or Hub name, as in `--models`.
    """
    path = Path(model.removeprefix(TIMBRE), TRAINING_SETTINGS)
    if not path.is_file():
        return {}
    settings = json.loads(path.read_text(encoding="utf-8"))
    options = {name: value for group in ("model", "data", "training") for name, value in settings[group].items()}
    options |= json.loads(options.pop("config") or "{}")
    for name in _PATHS:
        if options.get(name):
            options[name] = "/".join(Path(options[name]).parts[-2:])
    return {name: value for name, value in options.items() if name not in _NOT_LEARNT}


def training_table(options: Mapping[str, Mapping[str, Any]]) -> str:
    """A table of the options that are not the same in all models.

    Args:
        options: Of each model by its name, from `training_options`.
    """
    known = {name: one for name, one in options.items() if one}
    names = dict.fromkeys(option for one in known.values() for option in one)
    differing = [name for name in names if len({json.dumps(one.get(name)) for one in known.values()}) > 1]
    rows = [(model, *(_cell(one.get(name)) for name in differing)) for model, one in known.items()]
    return markdown_table(("model", *differing), rows)


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {one}" for name, one in value.items())
    return "" if value is None else str(value)
