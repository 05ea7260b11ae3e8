"""Pre-trains on described audio and saves a folder that is ready for the Hub.

accelerate launch training/pretrain.py                              # makes a small corpus, trains the tiny model
accelerate launch training/pretrain.py --train_data my_catalog    # audio files + metadata.jsonl or .csv
accelerate launch training/pretrain.py --recipe published --train_data my_catalog

An interrupted run resumes when its command is repeated.
"""

from pathlib import Path

from mulap_hf.arguments import Recipes, parse_arguments
from mulap_hf.pretraining.arguments import PRETRAINING
from mulap_hf.publishing.arguments import HubArguments
from mulap_hf.scripts import free_waiting_threads, run_script

RECIPES = Recipes(Path(__file__).parent / "recipes", "tiny")


def main(arguments: list[str] | None = None):
    options = parse_arguments((*PRETRAINING, HubArguments), arguments, __doc__, RECIPES)
    free_waiting_threads()
    from mulap_hf.commands.pretrain import pretrain

    pretrain(*options)


if __name__ == "__main__":
    run_script(main)
