"""Converts published checkpoints into folders that transformers loads.

python training/convert_checkpoint.py mulap --checkpoint best_model.pth.tar --config config.yaml --output DIR
python training/convert_checkpoint.py musicnn --checkpoint musicnn_mtat.pth --labels tags.txt --output DIR
"""

import argparse
from pathlib import Path

from transformers import AutoTokenizer

from mulap_hf import MulapFeatureExtractor, MulapProcessor
from mulap_hf.conversion import Converted, convert_mulap, convert_musicnn
from mulap_hf.errors import ModelError
from mulap_hf.files import make_folder
from mulap_hf.loading import loading_errors
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
    if args.format == "mulap":
        converted = convert_mulap(args.checkpoint, args.config)
        save(converted, output, args.tokenizer)
    else:
        converted = convert_musicnn(args.checkpoint, args.labels)
        save(converted, output)
    if converted.unused:
        print(f"{len(converted.unused)} weights of the checkpoint have no place in the model and were not used:")
        for name in converted.unused:
            print(f"  {name}")
    if converted.recomputed:
        print(f"{len(converted.recomputed)} buffers that the checkpoint lacks, or has rounded, were computed anew:")
        for name in converted.recomputed:
            print(f"  {name}")
    print(f"Saved {type(converted.model).__name__} to {output}")


def save(converted: Converted, output: Path, tokenizer: str | None = None):
    """Saves the model with its processor; without a tokenizer, with its feature extractor.

    Raises:
        ModelError: the tokenizer cannot be loaded, or is not the one that the model was trained with.
    """
    feature_extractor = MulapFeatureExtractor(sampling_rate=converted.model.config.audio_config.sampling_rate)
    if tokenizer is not None:
        with loading_errors(tokenizer):
            processor = MulapProcessor(feature_extractor, AutoTokenizer.from_pretrained(tokenizer))
        vocabulary, words = len(processor.tokenizer), converted.model.config.text_config.vocab_size
        if vocabulary > words:
            raise ModelError(f"{tokenizer} has {vocabulary} tokens, the checkpoint {words}: not its tokenizer")
        saved = processor
    else:
        saved = feature_extractor
    make_folder(output, "--output")
    saved.save_pretrained(output)
    converted.model.save_pretrained(output)


if __name__ == "__main__":
    run_script(main, after_interrupt="repeat the command to start over")
