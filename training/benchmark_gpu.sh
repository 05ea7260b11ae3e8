#!/usr/bin/env bash
# Everything to measure on a CUDA GPU, in less than 8 minutes:
#
#   bash training/benchmark_gpu.sh [OUTPUT]
#
# Correctness against the CPU, embedding and training steps in float32, TF32 and bfloat16 with and without
# torch.compile, `mulap embed` with decoding beside it, and two minutes of pre-training. The synthetic corpus of the
# pre-training is made first, on the CPU, and kept in OUTPUT/corpus; that is not part of the 8 minutes.
# DEVICE=cpu runs the same on a CPU, as a check of this script: DEVICE=cpu OPTIONS="--presets tiny --rounds 1" CLIPS=60.
set -euo pipefail
output=${1:-outputs/benchmark_gpu}
device=${DEVICE:-cuda}
cd "$(dirname "$0")/.."

corpus=$output/corpus
python -m mulap_hf.synthetic --output "$corpus" --format parquet --clip_seconds 9 --num_clips "${CLIPS:-2000}"
python -m mulap_hf.synthetic --output "$corpus" --format parquet --clip_seconds 9 --num_clips 50 --split validation

SECONDS=0
# shellcheck disable=SC2086
python training/benchmark.py gpu --device "$device" ${OPTIONS:---presets published --rounds 5 --compile} --output "$output"
python training/benchmark.py folder --device "$device" --rounds 1 --presets published \
  --workers 0 2 "${WORKERS:-8}" --output "$output"

run=$output/pretrained
[ "$device" = cpu ] && export ACCELERATE_USE_CPU=true
# 130: it was stopped when its time was over, which is meant
timeout --signal INT --kill-after 30 "${TRAIN_SECONDS:-120}" accelerate launch --num_processes 1 --num_machines 1 \
  --mixed_precision "$([ "$device" = cpu ] && echo no || echo bf16)" --dynamo_backend no training/pretrain.py \
  --recipe small --overwrite_output --train_data "$corpus" --output_dir "$run" --num_workers "${WORKERS:-8}" \
  --log_steps 10 --max_steps 100000 --trackers none || true
python - "$run/metrics.jsonl" <<'END'
import json, statistics, sys

rows = [json.loads(line) for line in open(sys.argv[1])]
rates = [row["clips_per_second"] for row in rows if row["split"] == "train"]
print(f"pre-training: {rows[-1]['step']} steps, {statistics.median(rates):.1f} clips per second")
END
echo "wrote the reports to $output in $SECONDS s"
