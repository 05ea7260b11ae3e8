"""Compare training strategies: pre-train a backbone with each, transfer it to every task, and report with intervals.

python training/compare.py                                                     # the small comparison, on the CPU
python training/compare.py --strategies mulap random DIR --seeds 0 1 2         # DIR: any MuLaP folder
python training/compare.py --tasks prepared/magnatagatune prepared/fma --train_data my_catalog
python training/compare.py --seeds 0 1 2 --reference mulap random --held_out_soundfont FluidR3_GM.sf2

All strategies have the same data, number of steps and probe. Repeat the command to resume an interrupted comparison;
with more strategies, seeds or tasks, it adds to the existing results.
"""

import signal
from pathlib import Path

from mulap_hf.arguments import Recipes, parse_arguments
from mulap_hf.scripts import free_waiting_threads, run_script
from mulap_hf.transfer.arguments import CompareArguments, ProbeArguments

TRAINING = Path(__file__).parent
RECIPES = TRAINING / "recipes" / "compare"


def main(arguments: list[str] | None = None) -> int:
    args, probe_args = parse_arguments(
        (CompareArguments, ProbeArguments), arguments, __doc__, Recipes(RECIPES, "small")
    )
    free_waiting_threads()
    from mulap_hf.commands.compare import compare

    return compare(args, probe_args, RECIPES / "strategies.json", TRAINING / "pretrain.py")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # background jobs may ignore SIGINT
    run_script(main)
