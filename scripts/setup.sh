# Sourced by the other scripts: puts in place what kvmprobe needs, once, and says what it does.
#   kvmprobe_setup [GROUP...]   GROUP: a dependency group of pyproject.toml
# Afterwards $KVMPROBE_PYTHON is the interpreter with kvmprobe installed.

KVMPROBE_ROOT=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
KVMPROBE_VENV=${KVMPROBE_VENV:-$KVMPROBE_ROOT/.venv}
KVMPROBE_PYTHON=$KVMPROBE_VENV/bin/python

# Debian's names: what builds the bindings and the emulator, unpacks kernels, makes disks; what the tests sign with,
# and what reads the manual page and the completion scripts.
_PACKAGES="gcc libc6-dev linux-libc-dev g++ make patch xz-utils zstd e2fsprogs"
_TEST_PACKAGES="gnupg mandoc zsh fish"
# What opens the HTML report in tests; not every distribution has it, so it is asked for alone.
_BROWSER_PACKAGES="chromium chromium-driver"

_say() { printf 'kvmprobe setup: %s\n' "$*" >&2; }

_python_ok() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

_find_python() {
    local candidate
    for candidate in ${KVMPROBE_BASE_PYTHON:-} python3 python3.13 python3.12 python3.11; do
        if _python_ok "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

# Can that interpreter make a virtual environment, and compile against its own headers?
_python_complete() {
    "$1" - <<'EOF' 2>/dev/null
import ensurepip, pathlib, sysconfig, venv, sys
sys.exit(not (pathlib.Path(sysconfig.get_path("include")) / "Python.h").exists())
EOF
}

_not_installed() {
    local package
    for package in "$@"; do
        dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null | grep -q '^ii' || printf '%s ' "$package"
    done
}

_missing_packages() {
    local python
    if command -v dpkg-query >/dev/null; then
        case " $* " in *" test "*) set -- $_PACKAGES $_TEST_PACKAGES ;; *) set -- $_PACKAGES ;; esac
        _not_installed "$@"
    else
        command -v gcc >/dev/null || printf 'gcc '
        command -v g++ >/dev/null || printf 'g++ '
        command -v make >/dev/null || printf 'make '
        command -v patch >/dev/null || printf 'patch '
        command -v xz >/dev/null || printf 'xz-utils '
        PATH=$PATH:/usr/sbin:/sbin command -v mke2fs >/dev/null || printf 'e2fsprogs '
    fi
    if ! python=$(_find_python); then
        if [ -n "$(apt-cache search --names-only '^python3.11-venv$' 2>/dev/null)" ]; then
            printf 'python3.11 python3.11-venv python3.11-dev '
        else
            printf 'python3 python3-venv python3-dev '
        fi
    elif ! _python_complete "$python"; then
        local name
        name=$(basename "$(readlink -f "$python")")
        printf '%s-venv %s-dev ' "$name" "$name"
    fi
}

_install_packages() {
    local missing
    missing=$(_missing_packages "$@")
    # shellcheck disable=SC2086 # a list of words
    [ -z "$missing" ] || _install $missing
    case " $* " in *" test "*) _install_browser ;; esac
}

# The other tests do without.
_install_browser() {
    local missing
    command -v dpkg-query >/dev/null || return 0
    missing=$(_not_installed $_BROWSER_PACKAGES)
    # shellcheck disable=SC2086 # a list of words
    [ -z "$missing" ] || _install $missing
}

_install() {
    if ! command -v apt-get >/dev/null; then
        _say "this distribution has no apt; by Debian's names it lacks: $* (going on without)"
    elif [ "$(id -u)" -ne 0 ]; then
        _say "only root can install packages; as root: apt-get install $* (going on without)"
    else
        _say "apt-get install $*"
        apt-get update -qq >/dev/null || _say "apt-get update failed; trying with the lists that are there"
        DEBIAN_FRONTEND=noninteractive \
            apt-get install -y -qq --no-install-recommends "$@" >/dev/null ||
            _say "apt-get install failed; going on without"
    fi
}

# What the installed environment was made from; source files count only where they are compiled.
_stamp() {
    (
        cd "$KVMPROBE_ROOT" || exit
        cat pyproject.toml cdefs/*.* scripts/setup.sh
        printf '%s\n' "$KVMPROBE_ROOT" "$(readlink -f "$1")" "${@:2}"
    ) | sha256sum | cut -d' ' -f1
}

_install_project() {
    local python=$1 group groups=()
    shift
    for group in "$@"; do groups+=(--group "$KVMPROBE_ROOT/pyproject.toml:$group"); done
    _say "virtual environment in $KVMPROBE_VENV, kvmprobe and what it depends on (pip)"
    rm -rf "$KVMPROBE_VENV"
    # setuptools warns at every build that it calls parts of its pyproject.toml experimental.
    "$python" -m venv "$KVMPROBE_VENV" &&
        "$KVMPROBE_PYTHON" -m pip install --quiet --upgrade 'pip>=25.1' &&
        PYTHONWARNINGS=ignore \
            "$KVMPROBE_PYTHON" -m pip install --quiet --editable "$KVMPROBE_ROOT" "${groups[@]}"
}

# The lock must not be inherited by what runs afterwards.
_release() { [ -z "$1" ] || eval "exec $1>&-"; }

kvmprobe_setup() {
    local python stamp stamp_file lock=
    stamp_file=$KVMPROBE_VENV/kvmprobe.stamp
    # One at a time; a read-only clone has no lock, and nothing to set up either.
    if { exec {lock}>"$KVMPROBE_ROOT/.setup.lock"; } 2>/dev/null; then flock "$lock"; fi
    if python=$(_find_python) && stamp=$(_stamp "$python" "$@") &&
        grep -qsF "$stamp" "$stamp_file"; then
        _release "$lock"
        return 0
    fi
    _install_packages "$@"
    if ! python=$(_find_python); then
        _say "Python 3.11 or newer is needed and not here; set KVMPROBE_BASE_PYTHON to one"
        return 4
    fi
    if ! _install_project "$python" "$@"; then
        _say "setting up failed: see the message above; $KVMPROBE_VENV is not usable"
        return 4
    fi
    _stamp "$python" "$@" >"$stamp_file"
    # An environment with more groups serves those who need fewer.
    [ $# -eq 0 ] || _stamp "$python" >>"$stamp_file"
    _release "$lock"
}
