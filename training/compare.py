"""Compares training strategies: pre-trains a backbone by each, transfers it to every task, and reports with intervals.

python training/compare.py                                                     # the small comparison, on the CPU
python training/compare.py --strategies mulap random DIR --seeds 0 1 2         # DIR: any MuLaP folder
python training/compare.py --tasks prepared/magnatagatune prepared/fma --train_data my_catalog
python training/compare.py --seeds 0 1 2 --reference mulap random --held_out_soundfont FluidR3_GM.sf2

Data, steps and probe are the same for all. It can be interrupted at any moment: the same command goes on, and with
more strategies, seeds or tasks adds to what is there.
"""

import os

# Threads that wait must not keep the cores from what others do; it is read when torch is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

import json
import signal
import sys
from pathlib import Path

from mulap_hf.errors import DataError
from mulap_hf.files import make_folder
from mulap_hf.pretraining.arguments import parse_arguments
from mulap_hf.scripts import run_script
from mulap_hf.synthetic import write_pretraining_corpus
from mulap_hf.transfer.arguments import CompareArguments, ProbeArguments
from mulap_hf.transfer.comparison.plan import Plan, check_plan
from mulap_hf.transfer.comparison.report import write_comparison_report
from mulap_hf.transfer.comparison.results import collect_results
from mulap_hf.transfer.comparison.workers import run_comparison

TRAINING = Path(__file__).parent
RECIPES = TRAINING / "recipes" / "compare"


def main(arguments: list[str] | None = None) -> int:
    args, probe_args = parse_arguments((CompareArguments, ProbeArguments), arguments, RECIPES, __doc__, "small")
    strategies = json.loads((RECIPES / "strategies.json").read_text(encoding="utf-8"))
    plan = Plan(args, probe_args, strategies, TRAINING / "pretrain.py")
    check_plan(plan)
    make_folder(plan.folder, "--output_dir")
    tasks = plan.tasks()
    if args.train_data is None and set(args.strategies) & set(strategies):
        try:
            write_pretraining_corpus(args.corpus_dir, args.pretrain_clips, args.clip_seconds)
        except DataError as error:
            raise DataError(f"--corpus_dir: {error}") from error
    failed = run_comparison(plan, tasks)
    results = collect_results(plan, tasks)
    report = write_comparison_report(plan.folder, results)
    for unit, reason in failed.items():
        print(f"failed: {unit}: {reason}; see {plan.folder / 'logs' / unit}.log", file=sys.stderr)
    print(f"Read {report}")
    return 1 if failed else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # in the background SIGINT itself may be ignored
    run_script(main)
