# Sourced by the other scripts: installs what kvmprobe needs, once, and reports each step.
#   kvmprobe_setup [GROUP...]   GROUP: a dependency group of pyproject.toml
# Afterwards $KVMPROBE_PYTHON is the interpreter with kvmprobe installed.
#
# $KVMPROBE_VENV is a symbolic link to an environment in ${KVMPROBE_VENV}s.  An environment that a process
# may be using is never changed, except that missing groups are added to it: when an input changes, a new
# one is built and the link is replaced by rename().  Environments that no process uses are then removed.

KVMPROBE_ROOT=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
KVMPROBE_VENV=${KVMPROBE_VENV:-$KVMPROBE_ROOT/.venv}
_ENVIRONMENTS=${KVMPROBE_VENV}s
_INPUTS=kvmprobe.inputs # in an environment: the hash of each file that it was made from; written last
_GROUPS=kvmprobe.groups # in an environment: the dependency groups that it has

# Debian's names.  For kvmprobe: compilers for the bindings and the emulator, mke2fs.
# For the tests: gpg to sign archives, openssl to verify certificates, rsync for tmt, mandoc and the shells that read the manual page and the completion scripts.
_PACKAGES="gcc libc6-dev linux-libc-dev g++ make patch e2fsprogs"
_TEST_PACKAGES="gnupg mandoc openssl rsync zsh fish"
# For tests of the HTML report, and of a recorded VMM; not every distribution has them, so apt-get gets each in a
# call of its own.
_BROWSER_PACKAGES="chromium chromium-driver"
_VMM_PACKAGES="qemu-system-x86"

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

# Return 0 if that interpreter can make a virtual environment and has its headers.
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
    case " $* " in *" test "*)
        _install_together $_BROWSER_PACKAGES
        _install_together $_VMM_PACKAGES
        ;;
    esac
}

# Without these packages only the tests that need them are skipped.
_install_together() {
    local missing
    command -v dpkg-query >/dev/null || return 0
    missing=$(_not_installed "$@")
    # shellcheck disable=SC2086 # a list of words
    [ -z "$missing" ] || _install $missing
}

_install() {
    if ! command -v apt-get >/dev/null; then
        _say "no apt-get here; missing packages, by Debian's names: $* (continuing without)"
    elif [ "$(id -u)" -ne 0 ]; then
        _say "only root can install packages; as root: apt-get install $* (continuing without)"
    else
        _say "apt-get install $*"
        apt-get update -qq >/dev/null || _say "apt-get update failed; continuing with the package lists that are present"
        DEBIAN_FRONTEND=noninteractive \
            apt-get install -y -qq --no-install-recommends "$@" >/dev/null ||
            _say "apt-get install failed; continuing without"
    fi
}

# Print "HASH  FILE" for each input of an environment.  Python sources are used in place and are no input,
# except those in kvmprobe/abi, which C constants are made from, and what marks compiled parts.
_inputs() {
    (
        cd "$KVMPROBE_ROOT" || exit
        export LC_ALL=C # the order of the files must not depend on the user's locale
        find pyproject.toml scripts/setup.sh cdefs kvmprobe/native kvmprobe/abi kvmprobe/build_inputs.py -type f \
            -not -path '*/__pycache__/*' -not -name '.*' -not -name '*~' -not -name '*.so' \
            -not -name zygote -not -name recorder -print0 | sort -z | xargs -0 sha256sum
        printf '%s  directory\n' "$KVMPROBE_ROOT"
    )
}

# Print the names of the inputs that differ between the environment in use and now.
_changed_inputs() {
    sort "$1/$_INPUTS" - <<<"$2" | uniq -u | sed 's/^.*  //' | sort -u | paste -sd ' '
}

# Return 0 if an environment can be used as it is, except for groups; otherwise print why not.
_is_current() {
    local environment=$1 inputs=$2
    if [ ! -e "$environment/$_INPUTS" ]; then
        [ ! -e "$KVMPROBE_VENV" ] || _say "$KVMPROBE_VENV is incomplete or older than this version of setup.sh"
        return 1
    fi
    if [ "$inputs" != "$(cat "$environment/$_INPUTS")" ]; then
        _say "changed since $KVMPROBE_VENV was made: $(_changed_inputs "$environment" "$inputs")"
        return 1
    fi
    if [ ! -x "$environment/bin/python" ]; then
        _say "$environment/bin/python is gone: its Python was removed or replaced"
        return 1
    fi
    if [ -n "${KVMPROBE_BASE_PYTHON:-}" ] &&
        [ ! "$environment/bin/python" -ef "$(command -v "$KVMPROBE_BASE_PYTHON")" ]; then
        _say "$KVMPROBE_VENV was not made with KVMPROBE_BASE_PYTHON=$KVMPROBE_BASE_PYTHON"
        return 1
    fi
}

_missing_groups() {
    local environment=$1 group
    shift
    for group in "$@"; do
        grep -qsxF "$group" "$environment/$_GROUPS" || printf '%s\n' "$group"
    done
}

# pip installs only what is missing: a process that uses the environment keeps what it has.
_add_groups() {
    local environment=$1 group options=()
    shift
    for group in "$@"; do options+=(--group "$KVMPROBE_ROOT/pyproject.toml:$group"); done
    _say "adding to $KVMPROBE_VENV: $* (pip)"
    "$environment/bin/python" -m pip install --quiet "${options[@]}" &&
        printf '%s\n' "$@" >>"$environment/$_GROUPS"
}

# Make an environment with the groups that the previous one had, and have the link name it.
_build() {
    local python=$1 inputs=$2 previous=$3 environment groups
    mkdir -p "$_ENVIRONMENTS" && environment=$(mktemp -d "$_ENVIRONMENTS/XXXXXXXX") && chmod 755 "$environment" || return
    _say "new virtual environment: kvmprobe and its dependencies in $environment (pip)"
    # setuptools warns at every build that parts of its pyproject.toml are experimental.
    "$python" -m venv "$environment" &&
        "$environment/bin/python" -m pip install --quiet --upgrade 'pip>=25.1' &&
        PYTHONWARNINGS=ignore "$environment/bin/python" -m pip install --quiet --editable "$KVMPROBE_ROOT" ||
        return
    mapfile -t groups < <(cat "$previous/$_GROUPS" 2>/dev/null)
    [ ${#groups[@]} -eq 0 ] || _add_groups "$environment" "${groups[@]}" || return
    printf '%s\n' "$inputs" >"$environment/$_INPUTS"
    _switch_to "$environment"
}

_switch_to() {
    local next=$KVMPROBE_VENV.next
    # Before there was a link, this was a directory; rename() cannot replace one by a link.
    if [ -d "$KVMPROBE_VENV" ] && [ ! -L "$KVMPROBE_VENV" ]; then
        mv -T -- "$KVMPROBE_VENV" "$_ENVIRONMENTS/before-links.$$" || return
    fi
    ln -sfn -- "$1" "$next" && mv -fT -- "$next" "$KVMPROBE_VENV"
}

# Remove the environments that the link does not name and that no process uses.
_remove_unused() {
    local environment
    # A process that was started through the link does not name its environment, so keep all of them then.
    if _is_used "$KVMPROBE_VENV"; then return; fi
    for environment in "$_ENVIRONMENTS"/*/; do
        environment=${environment%/}
        if [ "$environment" != "$1" ] && ! _is_used "$environment"; then rm -rf -- "$environment"; fi
    done
}

# Return 0 if a process's command line or mapped files are in a directory.
_is_used() {
    local files=(/proc/[0-9]*/cmdline /proc/[0-9]*/maps) file
    while read -r file; do
        # A relative path counts in this clone only.
        if grep -qsaF "$1/" "$file" || [[ $(readlink "${file%/*}/cwd") == "$KVMPROBE_ROOT"* ]]; then
            return 0
        fi
    done < <(grep -lsaF "${1#"$KVMPROBE_ROOT"/}/" "${files[@]}")
    return 1
}

# The program that is started afterwards must not inherit the lock.
_release() { [ -z "$1" ] || eval "exec $1>&-"; }

kvmprobe_setup() {
    local lock= status=0
    # One at a time.  A read-only clone has no lock, and an environment only if it is complete.
    if { exec {lock}>"$KVMPROBE_ROOT/.setup.lock"; } 2>/dev/null; then
        if ! flock --nonblock "$lock"; then
            _say "waiting for another process that is setting up here"
            flock "$lock"
        fi
    fi
    _set_up "$@" || status=4
    _release "$lock"
    return "$status"
}

_set_up() {
    local environment inputs missing python
    inputs=$(_inputs)
    environment=$(readlink -f -- "$KVMPROBE_VENV")
    if _is_current "$environment" "$inputs"; then
        mapfile -t missing < <(_missing_groups "$environment" "$@")
        if [ ${#missing[@]} -gt 0 ]; then
            _install_packages "$@"
            _add_groups "$environment" "${missing[@]}" || _failed || return
        fi
    else
        _install_packages "$@"
        if ! python=$(_find_python); then
            _say "Python 3.11 or newer is needed and was not found; set KVMPROBE_BASE_PYTHON to its path"
            return 1
        fi
        _build "$python" "$inputs" "$environment" || _failed || return
        environment=$(readlink -f -- "$KVMPROBE_VENV")
        mapfile -t missing < <(_missing_groups "$environment" "$@")
        [ ${#missing[@]} -eq 0 ] || _add_groups "$environment" "${missing[@]}" || _failed || return
        _remove_unused "$environment"
    fi
    # Not through the link: a later switch must not change the modules of a process that is running.
    KVMPROBE_PYTHON=$environment/bin/python
}

_failed() {
    _say "setting up failed: see the message above; what was installed before is unchanged"
    return 1
}
