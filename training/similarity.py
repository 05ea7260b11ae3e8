"""Train similarity by melody, rhythm and timbre: three heads on the frozen backbone of any MuLaP model.

accelerate launch training/similarity.py --model outputs/pretrained       # on synthetic pieces, which are made first
accelerate launch training/similarity.py --model DIR --data FOLDER        # on your own pieces, see --data in --help
accelerate launch training/similarity.py --model DIR --recordings MUSIC   # the report lists neighbors of recordings

The output is a `MulapForMusicSimilarity` folder for pipeline("music-similarity"), with a report: triplet accuracy of
each head on each factor. Pieces and features are kept, so a repeated command does not compute them again.
"""

from mulap_hf.arguments import parse_arguments
from mulap_hf.publishing.arguments import HubArguments
from mulap_hf.scripts import free_waiting_threads, run_script
from mulap_hf.similarity.arguments import SimilarityArguments


def main(arguments: list[str] | None = None):
    options = parse_arguments((SimilarityArguments, HubArguments), arguments, __doc__)
    free_waiting_threads()
    from mulap_hf.commands.similarity import similarity

    similarity(*options)


if __name__ == "__main__":
    run_script(main)
