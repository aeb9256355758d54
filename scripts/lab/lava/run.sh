#!/bin/sh
# Runs kvmprobe with KTAP on the console, and gives LAVA a result for each scenario as it appears there.
set -u
if [ -n "${KVMPROBE_WHEELS:-}" ]; then
    python3 -m venv /opt/kvmprobe &&
        /opt/kvmprobe/bin/pip install --no-index --find-links "$KVMPROBE_WHEELS" kvmprobe || exit
    PATH=/opt/kvmprobe/bin:$PATH
fi
# shellcheck disable=SC2086 # options
kvmprobe run ${KVMPROBE_ARGS:-} --report ktap=/dev/stdout 2>/dev/null | ./results.sh
