#!/bin/sh
# Runs inside the release root, once: fetches the pinned source packages (apt checks their signatures), compiles OpenSSL into
# /opt/ssl and CPython into /opt/python, and writes down beside each what it was built from. Takes from the environment:
# OPENSSL, PYTHON (versions of the source packages), JOBS, PGO (empty or 1).
set -eu

# The same bytes wherever and whenever it is compiled: no debug information (it holds paths), no dates, archives without owners.
export LC_ALL=C TZ=UTC ARFLAGS=rcD PYTHONHASHSEED=0 PYTHONDONTWRITEBYTECODE=1
FLAGS="-O2 -g0 -fstack-protector-strong -D_FORTIFY_SOURCE=2 -ffile-prefix-map=/src=."

fetch() { # NAME VERSION
    rm -rf "/src/$1"
    apt-get source --quiet=2 --download-only "$1=$2" || {
        echo "release: the mirror has no source of $1 $2: raise the pin in build/release/inputs.toml, or name an archive that" \
            "keeps it with RELEASE_MIRROR" >&2
        exit 1
    }
    # apt has checked these files against the archive's signed index; dpkg-source would look for the maintainer's key as well.
    dpkg-source --no-check --no-copy -x "$1_${2#*:}.dsc" "/src/$1" > "/src/$1.unpack.log"
}

# What sbom.py and licences.py read of a library that no package owns.
provenance() { # NAME VERSION PREFIX LICENCE TEXT...
    name=$1 version=$2 prefix=$3 licence=$4
    shift 4
    mkdir -p "$prefix/share/provenance"
    cat "$@" > "$prefix/share/provenance/licence.txt"
    cat > "$prefix/share/provenance/origin.json" <<END
{"name": "$name", "version": "$version", "licence": "$licence", "purl": "pkg:deb/debian/$name@$version?arch=source"}
END
}

mkdir -p /src
cd /src
fetch openssl "$OPENSSL"
fetch python3.11 "$PYTHON"
rm -rf /opt/ssl /opt/python

SOURCE_DATE_EPOCH=$(dpkg-parsechangelog -l python3.11/debian/changelog -S Timestamp)
export SOURCE_DATE_EPOCH

echo "release: compiling OpenSSL $OPENSSL"
cd /src/openssl
# Certificates and configuration are the machine's: /etc/ssl is where Debian keeps them; SSL_CERT_FILE says otherwise elsewhere.
./Configure linux-x86_64 --prefix=/opt/ssl --libdir=lib --openssldir=/etc/ssl no-tests no-legacy no-module shared \
    "CFLAGS=$FLAGS" > /src/openssl.configure.log
make -j"$JOBS" build_sw > /src/openssl.log 2>&1
make install_sw > /src/openssl.install.log 2>&1
rm -f /opt/ssl/lib/*.a
provenance openssl "$OPENSSL" /opt/ssl Apache-2.0 LICENSE.txt

echo "release: compiling CPython $PYTHON"
cd /src/python3.11
# A security patch of Debian's includes a header of the core in pyexpat, which Debian links into the interpreter.
printf '*shared*\npyexpat pyexpat.c -DPy_BUILD_CORE_MODULE -lexpat\n' > Modules/Setup.local
# -fno-semantic-interposition gives back most of what --enable-shared costs. PGO measures its own run, so that two compilations
# differ: a build that must be equal to the byte down to CPython goes without.
./configure --prefix=/opt/python --enable-shared --with-openssl=/opt/ssl --with-openssl-rpath=auto --with-system-expat \
    --without-ensurepip --disable-test-modules --without-static-libpython ${PGO:+--enable-optimizations} OPT="-DNDEBUG -fwrapv $FLAGS" \
    CFLAGS_NODIST="-fno-semantic-interposition" LDFLAGS_NODIST="-fno-semantic-interposition" \
    LDFLAGS="-Wl,-rpath,/opt/python/lib" > /src/python.configure.log 2>&1
make -j"$JOBS" > /src/python.log 2>&1
make install > /src/python.install.log 2>&1
provenance python3.11 "$PYTHON" /opt/python PSF-2.0 LICENSE debian/copyright
find /opt/python -name __pycache__ -type d -prune -exec rm -rf {} +

# What setup.py could not build it only mentions; a file without it would be found out by a user.
/opt/python/bin/python3 -c '
import _bz2, _ctypes, _curses, _hashlib, _lzma, _sqlite3, _ssl, _uuid, pyexpat, zlib, ssl, sysconfig
assert ssl.OPENSSL_VERSION_INFO >= (3,), ssl.OPENSSL_VERSION
assert sysconfig.get_config_var("Py_ENABLE_SHARED")
print("release:", sysconfig.get_python_version(), ssl.OPENSSL_VERSION)'
rm -rf /src/openssl /src/python3.11
