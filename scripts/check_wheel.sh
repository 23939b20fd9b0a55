#!/usr/bin/env bash
# Build the wheel into dist/, install it into a fresh environment away from the checkout, and use it there: the models,
# themes, rigs and messages' texts must come from the wheel alone.
#
#   scripts/check_wheel.sh [VERSION]     VERSION: what the wheel must call itself (a release's tag)
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
TRY=$(mktemp -d)
trap 'rm -rf "$TRY"' EXIT
rm -rf dist build
"$PYTHON" -m pip wheel -q --no-deps -w dist .
"$PYTHON" -m venv "$TRY/venv"
"$TRY/venv/bin/pip" install -q dist/*.whl
cd "$TRY"
unset PYTHONPATH EMO_FACE_MODELS AMENT_PREFIX_PATH
version=$(venv/bin/emo-face --version)
[ -z "${1:-}" ] || [ "$version" = "$1" ] || { echo "check_wheel: the wheel is $version, expected $1" >&2; exit 1; }
venv/bin/emo-face models verify
venv/bin/emo-face rig check minimal_4servo
venv/bin/emo-face params --table >/dev/null
venv/bin/python - <<'CHECK'
import numpy, emo_face
said = emo_face.say("What a lovely surprise!")
assert said.top in ("Happy", "Surprise") and said.blendshapes, said
assert emo_face.look(numpy.zeros((120, 160, 3), numpy.uint8)).people == ()
with emo_face.drive("head_12servo", driver="mock") as head:
    head.show(said)
assert "/venv/" in emo_face.__file__, emo_face.__file__
print(said.drawn("robot").shape, said.top)
CHECK
echo "check_wheel: emo_face $version works from its wheel: $(du -h "$OLDPWD"/dist/*.whl | cut -f1)"
