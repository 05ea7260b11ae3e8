"""Writes a model as one ONNX file: waveforms in, embeddings or labels out, for ONNX Runtime without torch.

python training/export_onnx.py --model outputs/pretrained --output backbone.onnx
python training/export_onnx.py --model outputs/transferred --output tagger.onnx --check song.mp3
python training/export_onnx.py --model DIR --output small.onnx --quantize static --calibration my_music/

Of a tagger the file gives labels and embeddings, of any other model the embeddings of its backbone. ONNX Runtime must
hear what torch hears, else no file is left. It takes `input_values` (batch, samples), and where clips were padded
`audio_attention_mask`: what the feature extractor gives. Its metadata say the rest:

    import json, onnxruntime
    session = onnxruntime.InferenceSession("tagger.onnx")
    about = session.get_modelmeta().custom_metadata_map  # sampling_rate, labels, preprocessing, ...
    (probabilities,) = session.run(["probabilities"], {"input_values": waveform[None]})
    print(dict(zip(json.loads(about["labels"]), probabilities[0])))
"""

import argparse
from pathlib import Path

from mulap_hf import load_audio
from mulap_hf.audio_search import find_audio_files
from mulap_hf.errors import MulapError
from mulap_hf.scripts import run_script
from mulap_hf.synthetic import CorpusConfig, make_clip

CHECKED_CLIPS, CHECKED_SECONDS = 12, 10.0  # of the synthetic corpus: all its styles


def main(arguments: list[str] | None = None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder or Hub name of a MuLaP model")
    parser.add_argument("--output", required=True, type=Path, help="file to write, ending in .onnx")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output file")
    parser.add_argument("--opset", type=int, default=18, help="of the ONNX operators, 18 or newer; default: 18")
    parser.add_argument(
        "--quantize",
        choices=["none", "dynamic", "static"],
        default="none",
        help="int8 for the two tall convolutions, where nearly all of the arithmetic is, on scales measured "
        "once on --calibration (static: the fastest) or anew for every chunk (dynamic: needs no music). Pays in the "
        "published size; what it costs in accuracy tells training/benchmark.py precision. Default: none",
    )
    parser.add_argument(
        "--calibration",
        type=Path,
        metavar="FOLDER",
        help="of --quantize static: some dozens of files, as varied as what will be heard; 30 s of each are taken",
    )
    parser.add_argument(
        "--check",
        nargs="+",
        metavar="AUDIO",
        help="files or folders on which ONNX Runtime and torch are compared; default: generated clips",
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        help="largest difference, as a share of an output's largest value; default: 1e-4, quantized 0.1",
    )
    args = parser.parse_args(arguments)
    export(args)


def export(args: argparse.Namespace):
    from mulap_hf.onnx_export import export_onnx, load_calibration, open_model

    if args.output.exists() and not args.overwrite:
        raise MulapError(f"{args.output} exists: pass --overwrite to replace it")
    if (args.quantize == "static") != (args.calibration is not None):
        raise MulapError("--quantize static and --calibration FOLDER need one another")
    model = open_model(args.model)
    audio_config = getattr(model.config, "audio_config", model.config)
    rate = audio_config.sampling_rate
    if args.check:
        check = (load_audio(path, rate) for path in find_audio_files(args.check).files)
    else:
        corpus = CorpusConfig(clip_seconds=CHECKED_SECONDS, sampling_rate=rate)
        check = (make_clip(corpus, "test", index)["audio"] for index in range(CHECKED_CLIPS))
    calibration = load_calibration(find_audio_files([args.calibration]).files, rate) if args.calibration else ()
    difference = export_onnx(
        model,
        args.output,
        check,
        name=Path(args.model).resolve().name if Path(args.model).is_dir() else args.model,
        opset=args.opset,
        quantize=args.quantize,
        calibration=calibration,
        tolerance=args.tolerance,
    )
    print(
        f"{args.output}: {args.output.stat().st_size / 2**20:.1f} MiB; it differs from torch by at most "
        f"{difference:.1e} of an output's largest value"
    )


if __name__ == "__main__":
    run_script(main, after_interrupt="repeat the command to start over")
