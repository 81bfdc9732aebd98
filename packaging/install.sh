#!/bin/sh
# Puts the one file that batchctl is into PREFIX/bin: checked, whole or not at all, without root. POSIX sh.
set -eu

usage() {
    cat <<'USAGE'
usage: install.sh [--prefix DIR] [--file PATH | --url URL] [--sha256 HEX | --no-verify] [--completions]
       install.sh --uninstall [--purge] [--prefix DIR]

  --prefix DIR    install to DIR/bin (default: /usr/local for root, else $HOME/.local)
  --file PATH     the file to install (default: the one named batchctl beside this script)
  --url URL       download it instead, with curl or wget (default: $BATCHCTL_URL, where nothing is beside this script)
  --sha256 HEX    what its SHA-256 has to be (default: what PATH.sha256 or URL.sha256 says)
  --no-verify     install it without knowing its SHA-256
  --completions   also completions for bash, zsh and fish, and the manual page, to DIR/share
  --uninstall     remove all of these
  --purge         with --uninstall: also what batchctl has unpacked for this user

Exit codes: 0 done, 1 not done (what was there before is still there), 2 wrong usage.
USAGE
}

say() { printf 'install.sh: %s\n' "$*"; }
fail() {
    printf 'install.sh: error: %s\n' "$1" >&2
    [ $# -lt 2 ] || printf '  fix: %s\n' "$2" >&2
    exit "${3:-1}"
}
wrong() { fail "$1" 'install.sh --help' 2; }

PATH=${PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}
export PATH
unset CDPATH IFS
umask 022
temporary='' listed=''
# A shell that a signal ends runs no EXIT trap, so each becomes an exit.
trap 'rm -f -- "$temporary" "$listed"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

prefix='' file='' url='' sha256='' verify=1 completions='' uninstall='' purge=''
while [ $# -gt 0 ]; do
    option=$1
    shift
    case $option in
        --prefix=* | --file=* | --url=* | --sha256=*)
            value=${option#*=}
            option=${option%%=*}
            ;;
        --prefix | --file | --url | --sha256)
            [ $# -gt 0 ] || wrong "$option needs a value"
            value=$1
            shift
            ;;
    esac
    case $option in
        --prefix | --file | --url | --sha256) [ -n "$value" ] || wrong "$option needs a value" ;;
    esac
    case $option in
        --prefix) prefix=$value ;;
        --file) file=$value ;;
        --url) url=$value ;;
        --sha256) sha256=$value ;;
        --no-verify) verify='' ;;
        --completions) completions=1 ;;
        --uninstall) uninstall=1 ;;
        --purge) purge=1 ;;
        -h | --help)
            usage
            exit 0
            ;;
        *) wrong "no such option: $option" ;;
    esac
done
[ -z "$file" ] || [ -z "$url" ] || wrong '--file and --url are two sources'
[ -z "$sha256" ] || [ -n "$verify" ] || wrong '--sha256 and --no-verify exclude each other'
[ -z "$purge" ] || [ -n "$uninstall" ] || wrong '--purge goes with --uninstall'
if [ -n "$uninstall" ] && [ -n "$file$url$sha256$completions" ]; then
    wrong '--uninstall takes --prefix and --purge only'
fi

if [ -z "$prefix" ]; then
    if [ "$(id -u)" = 0 ]; then
        prefix=/usr/local
    elif [ -n "${HOME:-}" ]; then
        prefix=$HOME/.local
    else
        fail 'there is no HOME to install to' 'name a folder: --prefix DIR'
    fi
fi
case $prefix in /*) ;; *) prefix=$(pwd)/$prefix ;; esac
bin=$prefix/bin
target=$bin/batchctl
bash_file=$prefix/share/bash-completion/completions/batchctl
zsh_file=$prefix/share/zsh/site-functions/_batchctl
fish_file=$prefix/share/fish/vendor_completions.d/batchctl.fish
man_file=$prefix/share/man/man1/batchctl.1

if [ -n "$uninstall" ]; then
    if [ -n "$purge" ] && [ -x "$target" ]; then
        "$target" self clean --all || fail "what it has unpacked could not be removed" "$target self info"
    fi
    removed=''
    for path in "$target" "$bash_file" "$zsh_file" "$fish_file" "$man_file"; do
        if [ -f "$path" ] || [ -L "$path" ]; then
            rm -f -- "$path" || fail "$path cannot be removed" 'do it as the user who installed it'
            say "removed $path"
            removed=1
        fi
    done
    [ -n "$removed" ] || fail "$target is not there" 'name the folder that it was installed to: --prefix DIR'
    if [ -z "$purge" ]; then
        say 'what it had unpacked is still in its cache folder (~/.cache/batchctl, for root /var/cache/batchctl,'
        # shellcheck disable=SC2016 # the name and the command, as they are to be typed
        say 'or $BATCHCTL_CACHE); `batchctl self clean --all` or --uninstall --purge would have removed it'
    fi
    exit 0
fi

# --- what is installed, and what its checksum is ------------------------------------------------------------------------

if [ -z "$file$url" ]; then
    case $0 in */*) beside=${0%/*} ;; *) beside=. ;; esac
    if [ -f "$beside/batchctl" ]; then
        file=$beside/batchctl
    elif [ -n "${BATCHCTL_URL:-}" ]; then
        url=$BATCHCTL_URL
    else
        fail "there is no batchctl beside $0" 'name it: --file PATH or --url URL (or BATCHCTL_URL in the environment)'
    fi
fi
case $file in -*) file=./$file ;; esac
[ -n "$url" ] || [ -f "$file" ] || fail "$file is no file" 'name the executable: --file PATH'

download() { # URL TO
    if command -v curl > /dev/null 2>&1; then
        curl --fail --silent --show-error --location --retry 2 --connect-timeout 30 --output "$2" -- "$1"
    elif command -v wget > /dev/null 2>&1; then
        wget -q -O "$2" -- "$1"
    else
        fail 'neither curl nor wget is here' 'download it on another machine and use --file PATH'
    fi
}

digest() { # FILE
    if command -v sha256sum > /dev/null 2>&1; then
        found=$(sha256sum < "$1")
    elif command -v shasum > /dev/null 2>&1; then
        found=$(shasum -a 256 < "$1")
    elif command -v openssl > /dev/null 2>&1; then
        found=$(openssl dgst -sha256 -r < "$1")
    else
        fail 'no sha256sum, shasum or openssl is here' 'install one of them, or check it elsewhere and use --no-verify'
    fi
    printf '%s\n' "${found%% *}"
}

[ ! -d "$target" ] || fail "$target is a folder" 'move it away, or choose another --prefix'
mkdir -p -- "$bin" 2> /dev/null || fail "$bin cannot be made" 'choose a folder that you may write to: --prefix DIR'
# What a `kill -9` of an earlier installation left behind; younger ones may be somebody's who is at it now.
find "$bin/." ! -name . -prune -type f -name '.batchctl.??????' -mtime +0 -exec rm -f {} + 2> /dev/null || :
# Beside the target, because only a rename within one file system is atomic.
temporary=$(mktemp "$bin/.batchctl.XXXXXX" 2> /dev/null) ||
    fail "$bin cannot be written to" 'choose a folder that you may write to: --prefix DIR'

if [ -n "$verify" ] && [ -z "$sha256" ]; then
    if [ -n "$url" ]; then
        listed=$(mktemp "$bin/.batchctl.XXXXXX")
        download "$url.sha256" "$listed" || fail "$url.sha256 cannot be downloaded" '--sha256 HEX says what it has to be'
        read -r sha256 _ < "$listed" || :
    elif [ -f "$file.sha256" ]; then
        read -r sha256 _ < "$file.sha256" || :
    else
        fail "$file.sha256 is not there" '--sha256 HEX says what it has to be; --no-verify does without'
    fi
fi
if [ -n "$verify" ]; then
    sha256=$(printf '%s' "$sha256" | tr 'A-F' 'a-f')
    case $sha256 in *[!0-9a-f]*) sha256='' ;; esac
    [ ${#sha256} -eq 64 ] || fail 'the SHA-256 is not one: 64 hex digits' 'look into the .sha256 file, or at --sha256'
fi

# --- into the temporary file, checked there, and into place -------------------------------------------------------------

if [ -n "$url" ]; then
    say "downloading $url"
    download "$url" "$temporary" || fail "$url cannot be downloaded" 'look at the address; then once more'
else
    cp -- "$file" "$temporary" || fail "$file cannot be copied to $bin" 'look at the free space and the permissions'
fi
if [ -n "$verify" ]; then
    found=$(digest "$temporary")
    [ "$found" = "$sha256" ] || fail "its SHA-256 is $found and has to be $sha256" 'it is damaged or another file: get it anew'
fi
chmod 0755 -- "$temporary"
# A shell would read as a script what the kernel does not take for a program: half a file, a web page, another cpu's.
case $(od -An -tx1 -N20 "$temporary" | tr -d ' \n') in
    7f454c460201????????????????????????3e00)
        [ "$(uname -m)" = x86_64 ] || fail "it is a program for x86_64, and this is $(uname -m)" 'use such a machine'
        ;;
    2321*) ;;
    *) fail 'it is no program for Linux on x86_64' 'it is damaged or another file: get it anew' ;;
esac
code=0
version=$("$temporary" --version) || code=$?
case $code in
    0) case $version in 'batchctl '*) ;; *) fail "it is not batchctl: it says '$version'" 'get the right file' ;; esac ;;
    69) version='batchctl (nowhere to unpack to yet: BATCHCTL_CACHE=DIR names a folder)' ;;
    126) fail "it does not run here (exit code 126)" 'look whether DIR of --prefix is mounted noexec' ;;
    *) fail "it does not run here (exit code $code)" 'it is damaged, or not for this machine: compare its SHA-256' ;;
esac
sync "$temporary" 2> /dev/null || : # durable before it is visible, where sync knows files
# The name is replaced, not the bytes: a batchctl that is running keeps its own.
mv -f -- "$temporary" "$target" || fail "$target cannot be replaced" 'look at who owns it'
temporary=''
say "$version is $target"

kept() { # FILE ARGUMENT...: what batchctl prints, in its place
    place=$1
    shift
    mkdir -p -- "${place%/*}" || fail "${place%/*} cannot be made" 'leave out --completions'
    temporary=$(mktemp "${place%/*}/.batchctl.XXXXXX")
    "$target" "$@" > "$temporary" || fail "\`batchctl $*\` failed" 'leave out --completions'
    chmod 0644 -- "$temporary"
    mv -f -- "$temporary" "$place"
    temporary=''
    say "made $place"
}

if [ -n "$completions" ]; then
    kept "$bash_file" completion bash
    kept "$zsh_file" completion zsh
    kept "$fish_file" completion fish
    kept "$man_file" man
    say "zsh looks there where ${zsh_file%/*} is in its fpath (before compinit)"
fi
case :$PATH: in
    *:"$bin":*)
        first=$(command -v batchctl) || first=''
        [ "$first" = "$target" ] || say "mind that $first comes before it on PATH"
        ;;
    *)
        case $bin in
            *[\"\$\`\\!]*) say "$bin is not on PATH" ;; # nothing to paste that a shell would expand
            *) say "$bin is not on PATH; add it: PATH=\"$bin:\$PATH\"" ;;
        esac
        ;;
esac
