"""Publishes the demo of two published models as a Space: upload music, see its tags, search by words.

python training/publish_space.py --repo_id org/mulap-demo --model org/mulap --tagger org/mulap-tagging
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

from mulap_hf.publishing.arguments import Destination
from mulap_hf.scripts import run_script

SPACE = Path(__file__).parents[1] / "model_cards" / "space"


def main(arguments: list[str] | None = None):
    args = make_parser().parse_args(arguments)
    destination = Destination(args.repo_id, args.private)
    from mulap_hf.publishing.hub import check_destination
    from mulap_hf.publishing.space import Demo, assemble_space, check_models, publish_space

    check_destination(destination, "space")
    demo = Demo(args.model, args.tagger, args.library)
    check_models(demo)
    with TemporaryDirectory(prefix="mulap-space-") as temporary:
        target = Path(temporary) / "space"
        assemble_space(SPACE, target, demo)
        print(f"Published: {publish_space(target, destination, demo)}")
    print("The Hub builds it in some minutes. For private models, add the secret HF_TOKEN in the Space's settings.")


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repo_id", required=True, help="name of the Space: org/name")
    parser.add_argument("--model", required=True, help="Hub name of a model of audio and text")
    parser.add_argument("--tagger", required=True, help="Hub name of a tagger or classifier")
    parser.add_argument(
        "--library", type=Path, nargs="+", default=[], help="audio files to compare with; default: generated clips"
    )
    parser.add_argument("--private", action="store_true", help="publish to a private Space")
    return parser


if __name__ == "__main__":
    run_script(main, after_interrupt="repeat the command to start over")
