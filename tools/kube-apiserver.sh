#!/bin/sh
# Builds kube-apiserver from Debian's own source package, for packages/inventory's test against a real one. It goes
# to a cache outside the tree, where that test looks. Nothing is installed: Debian's Go and one library of Debian's
# are unpacked aside. Needs a deb-src line for the Debian release that runs.
set -eu

target=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/causeway/kube-apiserver}
say() { printf 'kube-apiserver: %s\n' "$*"; }
fail() { printf 'kube-apiserver: %s\n' "$*" >&2; exit 1; }

[ -x "$target" ] && { say "$target is there"; exit 0; }
apt-cache showsrc kubernetes 2>/dev/null | grep -q '^Package: kubernetes$' ||
  fail "apt knows no source package kubernetes; add 'Types: deb deb-src' to its sources and run apt-get update"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
quiet() {
  "$@" >"$work/log" 2>&1 || {
    # The addresses of package hosts are nobody's business in a build log.
    sed -E 's#[a-z]+://[^ ]+#(address)#g' "$work/log" | tail -n 30 >&2
    fail "failed: $*"
  }
}
say "fetching Debian's source and Go"
quiet apt-get source --download-only kubernetes
quiet apt-get download golang-1.19-go golang-1.19-src golang-github-modern-go-reflect2-dev
for package in *.deb; do dpkg -x "$package" "$work/debian"; done

tree=$work/src/k8s.io/kubernetes
mkdir -p "$tree"
tar xf kubernetes_*.orig.tar.gz -C "$tree" --strip-components=1
tar xf kubernetes_*.debian.tar.xz -C "$tree"
cd "$tree"
grep -v '^#' debian/patches/series | while read -r name; do patch -s -p1 <"debian/patches/$name"; done
# The tree's own copy is older than Go 1.18 and makes the server crash under it.
rm -r vendor/github.com/modern-go/reflect2
cp -r "$work/debian/usr/share/gocode/src/github.com/modern-go/reflect2" vendor/github.com/modern-go/

export GOROOT="$work/debian/usr/lib/go-1.19" GOPATH="$work" GOCACHE="$work/cache"
export GO111MODULE=off CGO_ENABLED=0 GOFLAGS= GOPROXY=off
go=$GOROOT/bin/go
say "building: some minutes on two cores"
# What the package's Makefile generates first: the descriptions of all kinds.
quiet "$go" build -o "$work/openapi-gen" k8s.io/kubernetes/vendor/k8s.io/kube-openapi/cmd/openapi-gen
described=$(
  {
    grep -rlE --include='*.go' '^// \+k8s:openapi-gen=' pkg cmd
    grep -rlE --include='*.go' '^// \+k8s:openapi-gen=' staging/src/k8s.io |
      grep -v -E 'code-generator/|sample-apiserver/' | sed 's#^staging/src#vendor#'
  } | grep -v -E '_test\.go$|zz_generated' | xargs -n1 dirname | LC_ALL=C sort -u |
    sed 's#^#k8s.io/kubernetes/#' | paste -sd,
)
PATH="$GOROOT/bin:$PATH" quiet "$work/openapi-gen" --logtostderr -i "$described" \
  -p k8s.io/kubernetes/pkg/generated/openapi -O zz_generated.openapi \
  -h vendor/k8s.io/code-generator/hack/boilerplate.go.txt -r "$work/violations"
# A release tells its version here; an archive of the tree tells none.
version=$(sed -n '1s/^kubernetes (.*really\([0-9.]*\)-.*/\1/p' debian/changelog)
sed -i "s/gitVersion   *= \"[^\"]*\"/gitVersion = \"v${version:-1.20.2}\"/" staging/src/k8s.io/component-base/version/base.go
# Without the clouds: they are half of the time, and an API server has no use for them.
quiet "$go" build -tags providerless -ldflags '-s -w' -o "$work/kube-apiserver" k8s.io/kubernetes/cmd/kube-apiserver
mkdir -p "$(dirname "$target")"
mv "$work/kube-apiserver" "$target"
say "built $target"
