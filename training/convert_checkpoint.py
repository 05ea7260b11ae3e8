"""Converts published checkpoints into folders that transformers loads.

python training/convert_checkpoint.py mulap --checkpoint best_model.pth.tar --config config.yaml --output DIR
python training/convert_checkpoint.py musicnn --checkpoint musicnn_mtat.pth --labels tags.txt --output DIR
"""

import argparse
from pathlib import Path

from mulap_hf.errors import ModelError
from mulap_hf.scripts import run_script


def main(arguments: list[str] | None = None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    formats = parser.add_subparsers(dest="format", required=True)
    mulap = formats.add_parser("mulap", help="a published MuLaP checkpoint")
    mulap.add_argument("--config", required=True, help="the config.yaml saved beside the checkpoint")
    mulap.add_argument("--tokenizer", help="the tokenizer it was trained with, as Hub name or folder")
    musicnn = formats.add_parser("musicnn", help="a supervised MusiCNN tagger")
    musicnn.add_argument("--labels", required=True, help="text file of the tags, one per line, in output order")
    for subparser in (mulap, musicnn):
        subparser.add_argument("--checkpoint", required=True, help="the .pth or .pth.tar file")
        subparser.add_argument("--output", required=True, help="folder to write; must be new or empty")
    args = parser.parse_args(arguments)

    output = Path(args.output)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ModelError(f"{output} exists and is not an empty folder: pass another --output")
    from mulap_hf.conversion import convert_mulap, convert_musicnn, save_converted

    if args.format == "mulap":
        converted = convert_mulap(args.checkpoint, args.config)
        save_converted(converted, output, args.tokenizer)
    else:
        converted = convert_musicnn(args.checkpoint, args.labels)
        save_converted(converted, output)
    if converted.unused:
        print(f"{len(converted.unused)} weights of the checkpoint have no place in the model and were not used:")
        for name in converted.unused:
            print(f"  {name}")
    if converted.recomputed:
        print(f"{len(converted.recomputed)} buffers that the checkpoint lacks, or has rounded, were computed anew:")
        for name in converted.recomputed:
            print(f"  {name}")
    print(f"Saved {type(converted.model).__name__} to {output}")


if __name__ == "__main__":
    run_script(main, after_interrupt="repeat the command to start over")
