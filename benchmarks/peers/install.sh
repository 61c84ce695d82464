#!/usr/bin/env bash
# Makes an environment for each peer of benchmarks/train.py, with pinned versions.
#
#   benchmarks/peers/install.sh [FOLDER] [PEER...]
#
# FOLDER is /tmp/peers unless given; PEERs are trl, llamafactory, swift and nanovlm,
# all unless given. transformers' Trainer needs none: it runs where hocket is installed.
# PYTHON=python3.11 makes the environments. NANOVLM_GIT is where nanoVLM's repository is cloned from.
# An environment that is already there is left as it is; delete its folder to make it again.
set -euo pipefail

folder=${1:-/tmp/peers}
shift || true
peers=("$@")
[ ${#peers[@]} -gt 0 ] || peers=(trl llamafactory swift nanovlm)
python=${PYTHON:-python3}
nanovlm_git=${NANOVLM_GIT:-https://github.com/huggingface/nanoVLM}
NANOVLM_COMMIT=4e0c0961846135c2217f95e54cb4c2d66eb55e42

# torch goes first and alone, so that a CPU wheel found for it (pip's find-links, or
# PIP_EXTRA_INDEX_URL) is what the next call finds there.
TORCH=torch==2.13.0
VISION=torchvision==0.28.0

packages() {
  case $1 in
    trl) echo "trl==1.16.0 transformers==5.23.0 datasets==5.2.0 accelerate==1.15.0 pillow==13.0.0" ;;
    llamafactory) echo "llamafactory==0.9.5" ;;
    swift) echo "ms-swift==4.6.0" ;;
    nanovlm) echo "transformers==5.23.0 datasets==5.2.0 huggingface_hub==2.4.0 einops==0.8.2 pillow==13.0.0" ;;
    *) echo "no peer is called $1; there are trl, llamafactory, swift and nanovlm" >&2; exit 2 ;;
  esac
}

mkdir -p "$folder"
for peer in "${peers[@]}"; do
  list=$(packages "$peer")
  if [ -e "$folder/$peer/.installed" ]; then
    echo "$peer: already in $folder/$peer"
    continue
  fi
  echo "$peer: into $folder/$peer"
  "$python" -m venv "$folder/$peer"
  pip=("$folder/$peer/bin/python" -m pip --disable-pip-version-check install --quiet)
  "${pip[@]}" "$TORCH"
  "${pip[@]}" --no-deps "$VISION"
  # shellcheck disable=SC2086 # a list of words
  "${pip[@]}" "$TORCH" "$VISION" psutil $list
  if [ "$peer" = nanovlm ]; then
    rm -rf "$folder/nanovlm/source"
    git clone --quiet --no-checkout "$nanovlm_git" "$folder/nanovlm/source"
    # Its pictures are not needed.
    git -C "$folder/nanovlm/source" checkout --quiet "$NANOVLM_COMMIT" -- models data
  fi
  if [ "$peer" = llamafactory ]; then
    # Built for CUDA, they do not load beside torch for CPUs; without them torchaudio does.
    rm -f "$folder"/llamafactory/lib/python3*/site-packages/torchaudio/lib/*.so
  fi
  "$folder/$peer/bin/python" -m pip freeze > "$folder/$peer/versions.txt"
  touch "$folder/$peer/.installed"
done
