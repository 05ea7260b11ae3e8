"""Publishes a trained model on the Hub: assembles its folder, tests it without this package, then uploads it.

python training/publish.py outputs/pretrained --repo_id org/mulap --license cc-by-4.0
python training/publish.py outputs/tagging --repo_id org/mulap-tagging --private
python training/publish.py outputs/pretrained --repo_id org/mulap --dry_run --keep to_look_at
"""

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from mulap_hf.errors import PublishError
from mulap_hf.publishing.arguments import UNKNOWN_LICENSE, Destination
from mulap_hf.scripts import run_script


def main(arguments: list[str] | None = None):
    args = make_parser().parse_args(arguments)
    destination = Destination(args.repo_id, args.private, args.license)
    if args.license == UNKNOWN_LICENSE:
        print("no --license: the card will say that it is unknown", file=sys.stderr)
    if args.keep is not None and args.keep.exists():
        raise PublishError(f"--keep {args.keep} exists: choose another folder, or remove it")
    from transformers.utils.logging import disable_progress_bar

    from mulap_hf.publishing.assemble import assemble
    from mulap_hf.publishing.check import check_folder
    from mulap_hf.publishing.hub import check_destination, publish

    disable_progress_bar()
    with TemporaryDirectory(prefix="mulap-publish-") as temporary:
        target = args.keep or Path(temporary) / "model"
        print("Assembling the folder, loading it in a fresh process, running the snippets of its card ...")
        if args.dry_run:
            assemble(args.folder, target, args.repo_id, args.license, args.samples)
            check_folder(target, args.repo_id)
            print("\n".join(f"{size:>12,}  {name}" for name, size in list_files(target)))
            print("The model works. Nothing was uploaded." + ("" if args.keep else " --keep DIR keeps the folder."))
            return
        check_destination(destination)
        print(f"Published: {publish(args.folder, target, destination, args.samples)}")


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="output folder of a training script, or any saved MuLaP model")
    parser.add_argument("--repo_id", required=True, help="name on the Hub: org/name")
    parser.add_argument("--private", action="store_true", help="publish to a private repository")
    parser.add_argument(
        "--license",
        default=UNKNOWN_LICENSE,
        help="license of the model, by the Hub's identifier: apache-2.0, cc-by-4.0, cc-by-nc-4.0, other, ...",
    )
    parser.add_argument(
        "--samples",
        type=Path,
        nargs="+",
        default=[],
        help="audio files to publish as examples; default: generated ones",
    )
    parser.add_argument("--dry_run", action="store_true", help="do everything but the upload; works without network")
    parser.add_argument("--keep", type=Path, help="keep the assembled folder here")
    return parser


def list_files(folder: Path) -> list[tuple[str, int]]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [(path.relative_to(folder).as_posix(), path.stat().st_size) for path in files]


if __name__ == "__main__":
    run_script(main, after_interrupt="repeat the command to start over")
