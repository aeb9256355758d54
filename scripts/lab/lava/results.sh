#!/bin/sh
# Prints the KTAP on standard input, and calls lava-test-case for each scenario in it: KTAP's directives
# are LAVA's results, and a run that ends without its last line is a failed test case of its own.
# LAVA's names may have letters, digits, '_', '-' and dots, as those of scenarios.
set -u
exec awk '
    function result(of, directive) {
        if (directive == "SKIP") return "skip"
        if (directive == "XFAIL") return "pass"
        if (directive == "ERROR" || directive == "TIMEOUT") return "unknown"
        return of == "ok" ? "pass" : "fail"
    }
    { print; fflush() }
    match($0, /^    (not )?ok [0-9]+ [A-Za-z0-9_.-]+( |$)/) {
        of = $1 == "not" ? "not ok" : "ok"
        name = $1 == "not" ? $4 : $3
        directive = match($0, / # [A-Z]+/) ? substr($0, RSTART + 3, RLENGTH - 3) : ""
        system("lava-test-case " name " --result " result(of, directive))
    }
    /^(not )?ok 1 kvmprobe/ { ended = 1 }
    END { system("lava-test-case kvmprobe-ended --result " (ended ? "pass" : "fail")) }
'
