#!/usr/bin/env bash
# Install what the build needs and this machine lacks: a C++ compiler, libclang, make, pkg-config.
# RocksDB is C++, and its bindings are generated with libclang. Says so where it cannot help.
set -euo pipefail

has_libclang() {
    [ -n "${LIBCLANG_PATH:-}" ] && return
    # The paths of ldconfig and of the packages of LLVM, which link nothing into the former.
    ldconfig -p 2>/dev/null | grep -q 'libclang[-.0-9]*\.so' && return
    # Not libclang-cpp.so, which is another library and no help.
    compgen -G '/usr/lib/llvm*/lib/libclang[.-][s0-9]*' >/dev/null && return
    compgen -G '/usr/lib*/libclang[.-][s0-9]*' >/dev/null && return
    compgen -G '/Library/Developer/CommandLineTools/usr/lib/libclang.dylib' >/dev/null
}

packages=()
command -v g++ >/dev/null || command -v clang++ >/dev/null || packages+=(g++)
command -v make >/dev/null || packages+=(make)
command -v pkg-config >/dev/null || packages+=(pkg-config)
has_libclang || packages+=(libclang-dev)
# The clients of other languages are optional, except where nothing may be skipped.
if [ "${CI:-}" = true ]; then
    command -v python3 >/dev/null || packages+=(python3)
    python3 -c 'import ensurepip' 2>/dev/null || python3 -m pip --version >/dev/null 2>&1 ||
        packages+=(python3-venv)
    command -v node >/dev/null || packages+=(nodejs)
    command -v npm >/dev/null || packages+=(npm)
    command -v chromium >/dev/null || command -v chromium-browser >/dev/null ||
        command -v google-chrome >/dev/null || packages+=(chromium)
fi
if ! command -v cargo >/dev/null; then
    echo "a Rust toolchain is missing: see https://rustup.rs" >&2
    exit 1
fi
if [ ${#packages[@]} -eq 0 ]; then
    exit 0
fi

echo "missing: ${packages[*]}"
as_root=()
if [ "$(id -u)" -ne 0 ]; then
    as_root=(sudo --non-interactive)
fi
if command -v apt-get >/dev/null && "${as_root[@]}" true 2>/dev/null; then
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -qq -y --no-install-recommends "${packages[@]}" </dev/null
    exit 0
fi
cat >&2 <<'SAY'
Please install them by hand, then try again:
  Debian, Ubuntu   apt-get install g++ make pkg-config libclang-dev
  Fedora           dnf install gcc-c++ make pkgconf clang-devel
  Arch             pacman -S gcc make pkgconf clang
  macOS            xcode-select --install
  without root     pip install --target DIR libclang, then LIBCLANG_PATH=DIR/clang/native
SAY
exit 1
