#!/usr/bin/env bash
# Train the hand detector on a GPU that is lent for minutes: synthetic hands are drawn there, on all cores.
#   maskhand data cutouts DATA -o cache/cutouts      # before, where the photos are; with cache/handtrack.safetensors
#   (scripts/convert_networks.py) 55 MB travel
#   OUT=results scripts/train_detector_on_gpu.sh 14000 7.6 --set train.batch_size=160 --set train.learning_rate=2e-3
# Arguments: synthetic hands, minutes of training, further settings. 14,000 hands take 50 s on 16 cores.
set -euo pipefail
cd "$(dirname "$0")/.."
hands=$1 minutes=$2
shift 2
export PYTHONPATH=$PWD/src PYTHONUNBUFFERED=1 NUMBA_NUM_THREADS=1 OMP_NUM_THREADS=1
run=$(mktemp -d)
python3 -m maskhand.cli.main data cutouts -o cache/cutouts --count 256 --workers 1 # compiles what the workers share
python3 -m maskhand.cli.main data cutouts -o cache/cutouts --count "$hands" --workers "$(nproc)"
python3 -m maskhand.cli.main train detector --config configs/detector.toml -o "$run" --set train.minutes="$minutes" \
  --set train.steps=100000 --set train.precision=bf16-mixed "$@"
cp "$run/last.safetensors" "$run/log.jsonl" "${OUT:-.}/"
