#!/bin/sh
# Begins a run in the data directory of the test, or goes on with it after a reboot.
# tmt: 0 is a pass, 1 a failure, all others are errors; so are the statuses of `kvmprobe run`.
set -u
: "${KVMPROBE:=kvmprobe}"
run=$TMT_TEST_DATA/run
if [ -e "$run/journal.jsonl" ]; then
    "$KVMPROBE" resume "$run"
else
    # shellcheck disable=SC2086 # options
    "$KVMPROBE" run ${KVMPROBE_ARGS:-} --out "$run"
fi
status=$?
for report in junit:junit.xml ktap:kvmprobe.ktap html:report.html; do
    "$KVMPROBE" report --format "${report%%:*}" --output "$TMT_TEST_DATA/${report#*:}" "$run"
done
exit "$status"
