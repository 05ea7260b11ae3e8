"""Evaluate a model by MTEB, the benchmark of embedding models, or its way of evaluation on a folder of your own.

python training/mteb_eval.py --model outputs/pretrained                              # all tasks about music
python training/mteb_eval.py --model outputs/pretrained --tasks GTZANGenre SongDescriberT2ARetrieval
python training/mteb_eval.py --model outputs/pretrained --data prepared/gtzan        # the tasks of a prepared folder
python training/mteb_eval.py --model org/mulap --tasks GTZANGenre --push_to_hub      # into the card on the Hub

The scores go to the model card, and to results/ in the format of MTEB. A repeated command computes what is missing.
"""

from mulap_hf.arguments import parse_arguments
from mulap_hf.mteb_evaluation.arguments import MtebArguments
from mulap_hf.scripts import free_waiting_threads, run_script


def main(arguments: list[str] | None = None):
    (args,) = parse_arguments((MtebArguments,), arguments, __doc__)
    free_waiting_threads()
    from mulap_hf.commands.mteb_eval import mteb_eval

    mteb_eval(args)


if __name__ == "__main__":
    run_script(main)
