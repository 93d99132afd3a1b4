#!/bin/sh
# Compiles the eBPF programs to out/*.o, only when a source or this script changed. Plain sh: runs before
# anything else of the project is there.
set -eu
cd "$(dirname "$0")"
: "${CLANG:=clang}"

mkdir -p out
stamp=$(cat build.sh ./*.c lib/*.h | sha256sum)
[ "$(cat out/stamp 2>/dev/null)" = "$stamp" ] && exit 0
command -v "$CLANG" >/dev/null || { echo "build.sh: $CLANG not found (Debian: clang)" >&2; exit 1; }

work=$(mktemp -d out/work.XXXXXX)
trap 'rm -rf "$work"' EXIT
for source in ./*.c; do
  "$CLANG" -O2 -g -target bpf -mcpu=v3 -Wall -Wextra -Werror -Wno-unused-function \
    -ffile-prefix-map="$PWD"=bpf -I"/usr/include/$(uname -m)-linux-gnu" \
    -c "$source" -o "$work/$(basename "$source" .c).o"
done
mv "$work"/*.o out/
printf '%s' "$stamp" >out/stamp
