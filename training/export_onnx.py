"""Export a model to one ONNX file, from waveforms to embeddings or labels, for ONNX Runtime without torch.

python training/export_onnx.py --model outputs/pretrained --output backbone.onnx
python training/export_onnx.py --model outputs/transferred --output tagger.onnx --check song.mp3
python training/export_onnx.py --model DIR --output small.onnx --quantize static --calibration my_music/

A tagger is exported with its labels and embeddings, any other model with the embeddings of its backbone. The file is
written only if the outputs of ONNX Runtime equal those of torch. The inputs are those of the feature extractor:
`input_values` (batch, samples) and, for padded batches, `audio_attention_mask`. The metadata have the rest:

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
    parser.add_argument(
        "--opset", type=int, default=18, help="version of the ONNX operators, 18 or newer; default: 18"
    )
    parser.add_argument(
        "--quantize",
        choices=["none", "dynamic", "static"],
        default="none",
        help="int8 for the two tall convolutions, which take nearly all of the operations. Activations are scaled by "
        "--calibration audio (static, fastest) or for each chunk (dynamic). Faster in the published size only; "
        "training/benchmark.py precision measures speed and accuracy. Default: none",
    )
    parser.add_argument(
        "--calibration",
        type=Path,
        metavar="FOLDER",
        help="audio files for --quantize static: some dozens, as varied as the intended input; 30 s of each are used",
    )
    parser.add_argument(
        "--check",
        nargs="+",
        metavar="AUDIO",
        help="audio files or folders for the comparison with torch; default: clips of the synthetic corpus",
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        help="largest accepted difference, relative to the largest value of an output; default: 1e-4, quantized 0.1",
    )
    args = parser.parse_args(arguments)
    export(args)


def export(args: argparse.Namespace):
    from mulap_hf.onnx_export import export_onnx, open_model
    from mulap_hf.onnx_quantization import load_calibration

    if args.output.exists() and not args.overwrite:
        raise MulapError(f"{args.output} exists; pass --overwrite to replace it")
    if (args.quantize == "static") != (args.calibration is not None):
        raise MulapError("--quantize static and --calibration require each other; pass both or neither")
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
        f"wrote {args.output} ({args.output.stat().st_size / 2**20:.1f} MiB); its outputs differ from torch by at "
        f"most {difference:.1e} of the largest value"
    )


if __name__ == "__main__":
    run_script(main, after_interrupt="repeat the command to start over")
