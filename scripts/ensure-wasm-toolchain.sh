#!/usr/bin/env bash
# Finds, or makes, a Rust toolchain that can compile for wasm32-unknown-unknown.
#
#   vars=$(bash scripts/ensure-wasm-toolchain.sh) || exit 1
#   (eval "$vars"; cargo build --target wasm32-unknown-unknown ...)
#
# (Not `eval "$(...)"`: that loses the exit code.) Run it in the project's root, so that a rust-toolchain.toml
# counts. stdout holds nothing but `export` lines, stderr the log. Keep the variables to the wasm build: they may
# set RUSTC, and native code should be built by the user's own compiler. In this order:
#
#   present  the current rustc has the target's standard library
#   debian   what an earlier run of the last step made
#   rustup   `rustup target add`, where there is a rustup; under a time limit
#   debian   Debian's rustc-web packages, unpacked into a private folder: nothing is installed or removed, rustup
#            is not touched. They hold no compiled standard library for the target, so it is built once, offline,
#            from the packaged sources into that folder's sysroot. Builds then need no nightly flag.
#            132 MB are fetched and about 550 MB kept; it takes a minute.
#
# Settings (environment):
#   WASM_TOOLCHAIN_DIR             the private folder [${XDG_CACHE_HOME:-~/.cache}/wasm32-rust-toolchain]
#   WASM_TOOLCHAIN_RUSTUP=0        skip rustup
#   WASM_TOOLCHAIN_RUSTUP_TIMEOUT  seconds for rustup [60]
set -euo pipefail

TARGET=wasm32-unknown-unknown
LAYOUT=1 # of the private folder; raise it when it changes
OLDEST=90 # minor version of the Debian packages
DIR=${WASM_TOOLCHAIN_DIR:-${XDG_CACHE_HOME:-${HOME:?}/.cache}/wasm32-rust-toolchain}
case $DIR in /*) ;; *) DIR=$PWD/$DIR ;; esac
OTHERWISE="install it with 'rustup target add $TARGET' where rustup has network access"

log() { printf 'wasm-toolchain: %s\n' "$*" >&2; }
die() {
  log "error: $*"
  exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }
as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif have sudo && sudo -n true 2>/dev/null; then
    sudo -n "$@"
  else
    return 1
  fi
}

# can_build RUSTC: whether that compiler has the target's standard library
can_build() {
  local lib
  have "$1" || return 1
  lib=$("$1" --print target-libdir --target $TARGET 2>/dev/null) || return 1
  compgen -G "$lib/libstd-*.rlib" >/dev/null && compgen -G "$lib/libcore-*.rlib" >/dev/null
}

# answer KIND [RUSTC]: the export lines
answer() {
  printf 'export WASM_TOOLCHAIN=%q\n' "$1"
  [ $# -gt 1 ] || return 0
  printf 'export RUSTC=%q\n' "$2"
  have cargo || printf 'export PATH=%q:"$PATH"\n' "${2%/*}"
}

private_ready() {
  [ "$(cat "$DIR/stamp" 2>/dev/null)" = "$LAYOUT" ] && can_build "$DIR/bin/rustc" &&
    { have cargo || [ -x "$DIR/bin/cargo" ]; }
}
use_private() {
  log "$("$DIR/bin/rustc" --version) in $DIR ($SECONDS s)"
  answer debian "$DIR/bin/rustc"
}

if can_build "${RUSTC:-rustc}"; then
  log "$("${RUSTC:-rustc}" --version) has $TARGET"
  # shellcheck disable=SC2086
  answer present ${RUSTC:-}
  exit 0
fi

if private_ready; then
  use_private
  exit 0
fi

if [ "${WASM_TOOLCHAIN_RUSTUP:-1}" != 0 ] && [ -z "${RUSTC:-}" ] && have rustup; then
  seconds=${WASM_TOOLCHAIN_RUSTUP_TIMEOUT:-60}
  log "rustup target add $TARGET (at most $seconds s)"
  if RUSTUP_MAX_RETRIES=1 timeout "$seconds" rustup target add $TARGET >&2 && can_build rustc; then
    answer rustup
    exit 0
  fi
  log "rustup could not add $TARGET"
fi

for tool in apt-get apt-cache dpkg-deb; do
  have $tool || die "the current rustc lacks $TARGET, and without $tool there is no Debian to fall back on; $OTHERWISE"
done

# Two builds at once: the second waits and finds the first one's work.
if have flock; then
  mkdir -p "${DIR%/*}"
  exec 9>"$DIR.lock"
  flock 9
  if private_ready; then
    use_private
    exit 0
  fi
fi

STAGE=$DIR.new.$$
trap 'rm -rf "$STAGE"' EXIT
rm -rf "$STAGE"
mkdir -p "$STAGE/debs" "$STAGE/lib" "$STAGE/bin" "$STAGE/build/src"

record() { apt-cache show --no-all-versions "$1" 2>/dev/null; }
dependency() { record "$1" | sed -n 's/^Depends: //p' | grep -oE "$2" | head -n1 || true; }
# Old package lists offer what the release came with, whose sources lack the crates that the standard library needs;
# updates of the release bring them.
known() {
  local minor
  minor=$(record rust-web-src | sed -nE 's/^Version: 1\.([0-9]+).*/\1/p' | head -n1)
  [ -n "$(record rustc-web)" ] && [ "${minor:-0}" -ge "$OLDEST" ]
}
if ! known; then
  log "reading apt's package lists"
  as_root apt-get update -qq >&2 || log "apt-get update failed (it needs root)"
fi
known || die "apt offers no rustc-web and rust-web-src of Rust 1.$OLDEST or later; $OTHERWISE"

if ! have cc; then
  log "installing a C compiler, which links build scripts and proc macros"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq gcc libc6-dev >&2 ||
    die "no C compiler (cc), and gcc could not be installed (it needs root)"
fi

# The standard library is built by the user's cargo when it is recent, else by Debian's.
minor=$( (cargo --version 2>/dev/null || true) | sed -nE 's/^cargo 1\.([0-9]+).*/\1/p')
debian_cargo=
[ "${minor:-0}" -ge 90 ] || debian_cargo=cargo-web

std=$(dependency libstd-rust-web-dev 'libstd-rust-web-[0-9.]+')
llvm=$(dependency "${std:-none}" 'libllvm[0-9]+')
[ -n "$std" ] && [ -n "$llvm" ] || die "the rustc-web packages have an unknown layout; $OTHERWISE"
packages="rustc-web libstd-rust-web-dev $std rust-web-src $llvm lld-${llvm#libllvm} $debian_cargo"

download() {
  # Only simulated: it names the libraries that this system lacks.
  # shellcheck disable=SC2086
  missing=$(apt-get install -s --no-install-recommends $packages 2>/dev/null | awk '$1 == "Inst" {print $2}')
  # shellcheck disable=SC2086,SC2046
  (cd "$STAGE/debs" &&
    apt-get -qq -o APT::Sandbox::User="$(id -un)" download $(printf '%s\n' $packages $missing | sort -u)) >&2
}
log "fetching $packages"
if ! download; then
  log "that failed; reading apt's package lists once more"
  rm -f "$STAGE"/debs/*
  as_root apt-get update -qq >&2 || true
  download || die "apt could not fetch the rustc-web packages; $OTHERWISE"
fi

log "unpacking $(du -sm "$STAGE/debs" | cut -f1) MB"
for deb in "$STAGE"/debs/*.deb; do
  case ${deb##*/} in
  rust-web-src_*) set -- --wildcards './usr/src/rustc-*/library/*' ;;
  *) set -- --exclude='./usr/share' --exclude='./usr/bin/rustdoc' ;;
  esac
  dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$STAGE" "$@"
done
rm -rf "$STAGE/debs"

# The unpacked programs look for shared libraries in lib/ only: their own, not the system's.
find "$STAGE/usr/lib" "$STAGE/lib" -path '*/rustlib' -prune -o -name '*.so*' ! -type d -print | while read -r so; do
  [ -e "$STAGE/lib/${so##*/}" ] || ln -s "../${so#"$STAGE/"}" "$STAGE/lib/${so##*/}"
done
for tool in rustc cargo; do
  [ -x "$STAGE/usr/bin/$tool" ] || continue
  cat >"$STAGE/bin/$tool" <<'WRAPPER'
#!/bin/sh
d=${0%/*}/..
LD_LIBRARY_PATH=$d/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export LD_LIBRARY_PATH
exec "$d/usr/bin/${0##*/}" "$@"
WRAPPER
  chmod +x "$STAGE/bin/$tool"
done
rustc=$STAGE/bin/rustc
host=$("$rustc" -vV | sed -n 's/^host: //p')
[ -n "$host" ] || die "the unpacked rustc does not run"
linkers=$STAGE/usr/lib/rustlib/$host/bin
mkdir -p "$linkers"
ln -sf "../../../llvm-${llvm#libllvm}/bin/lld" "$linkers/rust-lld"

log "building the standard library with $("$rustc" --version)"
sources=$(echo "$STAGE"/usr/src/rustc-*/library)
library=$STAGE/usr/lib/rustlib/src/rust/library
mkdir -p "${library%/*}"
mv "$sources" "$library"
printf '[package]\nname = "stdbuild"\nversion = "0.0.0"\nedition = "2021"\n[workspace]\n' >"$STAGE/build/Cargo.toml"
: >"$STAGE/build/src/lib.rs"
cargo=cargo
[ -z "$debian_cargo" ] || cargo=$STAGE/bin/cargo
(
  cd "$STAGE/build"
  unset RUSTFLAGS RUSTC_WRAPPER RUSTC_WORKSPACE_WRAPPER CARGO_BUILD_RUSTC_WRAPPER CARGO_BUILD_TARGET CARGO_UNSTABLE_BUILD_STD
  # embed-bitcode lets `lto = true` reach into the standard library.
  RUSTC=$rustc RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=$STAGE/build/target \
    CARGO_ENCODED_RUSTFLAGS=$(printf '%s\037%s' -Cembed-bitcode=yes "--remap-path-prefix=$library=/rustc/library") \
    "$cargo" build --quiet --release --offline --target $TARGET \
    -Z build-std=std,panic_abort,panic_unwind \
    --config 'source.crates-io.replace-with="std-vendor"' \
    --config "source.std-vendor.directory=\"$library/vendor\"" >&2
) || die "the standard library could not be built; $OTHERWISE"
built=$STAGE/build/target/$TARGET/release/deps
sysroot=$STAGE/usr/lib/rustlib/$TARGET/lib
mkdir -p "$sysroot"
cp "$built"/*.rlib "$built"/*.rmeta "$sysroot/"
rm -rf "$sysroot"/libstdbuild-* "$STAGE/build" "$STAGE/usr/src" "$STAGE/usr/lib/rustlib/src"

mkdir "$STAGE/try"
echo '#[no_mangle] pub extern "C" fn f(n: u32) -> usize { vec![0u8; n as usize].len() }' >"$STAGE/try/t.rs"
"$rustc" --target $TARGET --crate-type cdylib -O -o "$STAGE/try/t.wasm" "$STAGE/try/t.rs" >&2 &&
  [ "$(head -c 4 "$STAGE/try/t.wasm" | od -An -tx1 | tr -d ' \n')" = 0061736d ] ||
  die "the toolchain builds no working module; $OTHERWISE"
rm -rf "$STAGE/try"

echo "$LAYOUT" >"$STAGE/stamp"
rm -rf "$DIR"
mv "$STAGE" "$DIR"
use_private
