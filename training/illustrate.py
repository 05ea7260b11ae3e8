"""Draw what a model has learned, on held-out clips, and write a page that explains the pictures.

python training/illustrate.py --model outputs/pretrained --tagger outputs/transferred       # the synthetic corpus
python training/illustrate.py --model DIR --data prepared/song_describer --parts retrieval attention
python training/illustrate.py --model DIR --tagger DIR --parts tags --track song.mp3

The parts are retrieval examples, tags over a track, a map of the clips, and the co-attention of one clip. A part that
the model or the data does not support is skipped; the page gives the reason.
"""

from mulap_hf.arguments import parse_arguments
from mulap_hf.illustration.arguments import IllustrationArguments
from mulap_hf.scripts import free_waiting_threads, run_script


def main(arguments: list[str] | None = None):
    (args,) = parse_arguments((IllustrationArguments,), arguments, __doc__)
    free_waiting_threads()
    from mulap_hf.commands.illustrate import illustrate

    illustrate(args)


if __name__ == "__main__":
    run_script(main)
