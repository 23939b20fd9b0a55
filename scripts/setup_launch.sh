#!/usr/bin/env bash
# Put the real `ros2 launch`, `ros2 topic`, `ros2 lifecycle` beside the ROS 2 of scripts/setup.sh, which comes from PyPI without them.
#
#   scripts/setup_launch.sh SOURCES      SOURCES: a folder with checkouts of ros2/{launch,launch_ros,ros2cli,
#                                        rosidl_runtime_py,rcl_interfaces}, branch kilted, each under its own name:
#     for r in launch launch_ros ros2cli rosidl_runtime_py rcl_interfaces; do
#       git clone -b kilted --depth 1 https://github.com/ros2/$r SOURCES/$r; done
#
# Then, in this order so that the commands find the messages and the package:
#   export PATH=$PWD/.venv/bin:$PATH AMENT_PREFIX_PATH=$PWD/ros2_ws/install:$PWD/.venv
#   ros2 launch emo_face bringup.launch.py
set -euo pipefail
cd "$(dirname "$0")/.."
VENV=${VENV:-$PWD/.venv}
case $VENV in /*) ;; *) VENV=$PWD/$VENV ;; esac
SOURCES=${1:?a folder with checkouts of ros2/launch and the others; see the head of this script}
PY=$VENV/bin/python
# colcon's own limit by the load waits for ever on a busy machine; `make demo PORT=1` hands its variables on in MAKEFLAGS
case ${MAKEFLAGS:-} in *-j*) ;; *) export MAKEFLAGS=-j$(nproc) ;; esac
[ -x "$PY" ] || { echo "setup_launch: no $PY: run scripts/setup.sh first" >&2; exit 1; }

"$PY" -m pip --disable-pip-version-check -q install argcomplete osrf-pycommon packaging importlib_resources lark psutil
for part in launch/{launch,launch_xml,launch_yaml} launch_ros/{launch_ros,ros2launch} rosidl_runtime_py \
  ros2cli/{ros2cli,ros2run,ros2pkg,ros2node,ros2topic,ros2lifecycle,ros2param,ros2service}; do
  "$PY" -m pip --disable-pip-version-check -q install --no-deps --no-build-isolation "$SOURCES/$part"
done
# launch_ros imports the one message package of these that has no wheel
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
mkdir "$work/src"; cp -r "$SOURCES/rcl_interfaces/composition_interfaces" "$work/src/"
(cd "$work" && CMAKE_PREFIX_PATH=$VENV AMENT_PREFIX_PATH=$VENV PATH=$VENV/bin:$PATH "$PY" -m colcon build --merge-install \
  --cmake-args -DPython3_EXECUTABLE="$PY" -DPYTHON_EXECUTABLE="$PY" -DBUILD_TESTING=OFF >"$work/build.txt" 2>&1) ||
  { tail -n 40 "$work/build.txt" >&2; exit 1; }
cp -r "$work/install/share/." "$VENV/share/"
cp "$work"/install/lib/libcomposition_interfaces*.so "$VENV/lib/"
cp -r "$work"/install/lib/python3*/site-packages/composition_interfaces "$("$PY" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')/"
"$PY" -c 'import launch_ros.actions, ros2launch, composition_interfaces.srv'
echo "[setup] ready: $VENV/bin/ros2 launch"
