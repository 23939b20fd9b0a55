#!/usr/bin/env bash
# Chromium and its driver for the tests of the screen face (Debian, Ubuntu). Needs root.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq chromium chromium-driver >/dev/null || apt-get install -y -qq chromium-browser chromium-chromedriver >/dev/null
