"""Transfer a backbone to a task: train a head on its frozen features, or fine-tune both.

accelerate launch training/transfer.py --model outputs/pretrained --task tagging        # of the synthetic corpus
accelerate launch training/transfer.py --model DIR --data prepared/magnatagatune        # with the published settings
accelerate launch training/transfer.py --model DIR --data prepared/fma --fine_tune      # trains the backbone as well

The best epoch is chosen on the validation split, and the test splits are evaluated once. The output is a
`MulapForAudioClassification` folder for pipeline("audio-classification"), with a report. Repeat the command to resume
an interrupted run.
"""

import json
import sys
from pathlib import Path

from mulap_hf.arguments import Recipes, boolean, parse_arguments, peek
from mulap_hf.data.schema import SETTINGS_FILE
from mulap_hf.pretraining.arguments import TrainingArguments
from mulap_hf.publishing.arguments import HubArguments
from mulap_hf.scripts import free_waiting_threads, run_script
from mulap_hf.transfer.arguments import FineTuneArguments, ProbeArguments, RunArguments, TransferArguments

RECIPES = Path(__file__).parent / "recipes" / "transfer"


def main(arguments: list[str] | None = None):
    arguments = sys.argv[1:] if arguments is None else arguments
    kinds: tuple[type, ...]
    if peek(arguments, "fine_tune", False, nargs="?", const=True, type=boolean):  # it decides which options there are
        kinds, recipe = (FineTuneArguments, TrainingArguments), "fine_tune"
    else:
        kinds, recipe = (ProbeArguments, RunArguments), default_recipe(peek(arguments, "data"))
    kinds = (TransferArguments, *kinds, HubArguments)
    options = parse_arguments(kinds, arguments, __doc__, Recipes(RECIPES, recipe))
    free_waiting_threads()
    from mulap_hf.commands.transfer import transfer

    transfer(*options)


def default_recipe(data: str | None) -> str:
    """The one with the name of the corpus in `--data`, if there is one."""
    try:
        corpus = json.loads((Path(data or "") / SETTINGS_FILE).read_text(encoding="utf-8"))["settings"]["corpus"]
    except (OSError, ValueError, KeyError):
        return "probe"
    return corpus if (RECIPES / f"{corpus}.json").is_file() else "probe"


if __name__ == "__main__":
    run_script(main)
