#!/usr/bin/env bash
# Set emo_face up on a Jetson with JetPack 6 or 7: checks, the right wheels, engines. NOT RUN on a Jetson by the developers.
#
#   source /opt/ros/DISTRO/setup.bash && scripts/jetson.sh      check, install, build the engines of the nano tier
#   scripts/jetson.sh --check                                   only say what is here and what is missing
#   scripts/jetson.sh --dry-run                                 print the commands
#
# JetPack 6 (Ubuntu 22.04, Python 3.10, CUDA 12.6, TensorRT 10.3): PyPI has no onnxruntime-gpu for it (dropped in 1.24), NVIDIA's
# Jetson index has. JetPack 7 (Ubuntu 24.04, Python 3.12, CUDA 13): onnxruntime-gpu from PyPI, whose kernels for Orin
# (compute 8.7) nobody here has seen run. TensorRT is JetPack's own on both; wheels of it would bring a second one.
# Environment: VENV (default .venv), PYTHON, ORT_INDEX (another index for JetPack 6), L4T_RELEASE (file, for tests).
set -euo pipefail
cd "$(dirname "$0")/.."
VENV=${VENV:-$PWD/.venv}
PYTHON=${PYTHON:-python3}
ORT_INDEX=${ORT_INDEX:-https://pypi.jetson-ai-lab.io/jp6/cu126}
RELEASE=${L4T_RELEASE:-/etc/nv_tegra_release}
MODE=${1:-install}

say() { printf '\033[1m[jetson]\033[0m %s\n' "$*"; }
die() { printf 'jetson: %s\n' "$*" >&2; exit 1; }
bad=0
look() { # TOPIC COMMAND... FIX : the last word says what to do
  local topic=$1 fix=${*: -1}; set -- "${@:2:$#-2}"
  if "$@" >/dev/null 2>&1; then say "$topic: ok"; else say "$topic: missing: $fix"; return 1; fi
}
need() { look "$@" || bad=1; }
want() { look "$@" || true; }
run() { if [ "$MODE" = --dry-run ]; then printf '+ %s\n' "$*"; else "$@"; fi; }

case $MODE in install | --check | --dry-run) ;; *) die "unknown option $MODE: expected --check or --dry-run" ;; esac
[ -r "$RELEASE" ] || die "$RELEASE is not here: this is no Jetson; on a PC use scripts/setup.sh tensorrt"
L4T=$(sed -n 's/^# R\([0-9]*\) .*/\1/p' "$RELEASE")
case $L4T in
  36) JETPACK=6; CUDA_PYTHON="cuda-python>=12.8,<13"; WANTED=3.10 ;;
  38 | 39) JETPACK=7; CUDA_PYTHON="cuda-python>=13,<14"; WANTED=3.12 ;;
  *) die "$RELEASE: L4T R${L4T:-?}: expected R36 (JetPack 6) or R38, R39 (JetPack 7); update JetPack" ;;
esac
say "JetPack $JETPACK (L4T R$L4T), $(uname -m)"

need "Python $WANTED" "$PYTHON" -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$WANTED')" "set PYTHON=python$WANTED"
need "TensorRT of JetPack" "$PYTHON" -c 'import tensorrt' "sudo apt-get install python3-libnvinfer (part of nvidia-jetpack)"
need "ROS 2" "$PYTHON" -c 'import rclpy' "install ROS 2 (Humble on JetPack 6, Jazzy on JetPack 7) and source /opt/ros/DISTRO/setup.bash"
want "camera" sh -c 'ls /dev/video*' "plug a USB camera in, or remap image to your camera's topic"
want "full clocks" sh -c 'nvpmodel -q | grep -q MAXN' "sudo nvpmodel -m 0 && sudo jetson_clocks, for figures that compare"
[ "$MODE" = --check ] && exit $bad
[ "$MODE" = --dry-run ] || [ $bad = 0 ] || die "mend what is missing above, then run this again"

run env VENV="$VENV" PYTHON="$PYTHON" scripts/setup.sh
PIP=("$VENV/bin/python" -m pip --disable-pip-version-check)
run "${PIP[@]}" install -q "$CUDA_PYTHON"
run "${PIP[@]}" uninstall -q -y onnxruntime onnxruntime-gpu # the two share a folder
if [ "$JETPACK" = 6 ]; then
  run "${PIP[@]}" install -q --extra-index-url "$ORT_INDEX" onnxruntime-gpu
else
  run "${PIP[@]}" install -q "onnxruntime-gpu>=1.31,<1.32"
fi
run "$VENV/bin/emo-face" engine build
run "$VENV/bin/emo-face" doctor
say "start it by: $VENV/bin/emo-face up     (engine: auto takes the engines that were built)"
