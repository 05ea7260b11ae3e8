"""Evaluate tags and classes from prompts, and retrieval between clips and descriptions, without training.

python training/zero_shot.py --model outputs/pretrained                                # tasks of the synthetic corpus
python training/zero_shot.py --model DIR --data prepared/magnatagatune --task tagging
python training/zero_shot.py --model DIR --data prepared/song_describer --retrieval

The features of the backbone are stored for later runs. An interrupted run scores its pairs again, which takes minutes.
"""

from mulap_hf.arguments import parse_arguments
from mulap_hf.scripts import free_waiting_threads, run_script
from mulap_hf.transfer.arguments import ZeroShotArguments


def main(arguments: list[str] | None = None):
    (args,) = parse_arguments((ZeroShotArguments,), arguments, __doc__)
    free_waiting_threads()
    from mulap_hf.commands.zero_shot import zero_shot

    zero_shot(args)


if __name__ == "__main__":
    run_script(main)
