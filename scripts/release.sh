#!/usr/bin/env bash
# Static binaries for six platforms, with checksums: in a disaster there is no `go install`.
set -euo pipefail
cd "$(dirname "$0")/.."
: "${VERSION:?}" "${LDFLAGS:?}"
rm -rf dist
mkdir -p dist
for platform in ${PLATFORMS:-linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64}; do
  os=${platform%/*} arch=${platform#*/} suffix=
  [ "$os" = windows ] && suffix=.exe
  name="drctl_${VERSION}_${os}_${arch}$suffix"
  echo "building $name"
  CGO_ENABLED=0 GOOS=$os GOARCH=$arch go build -trimpath -buildvcs=false -ldflags "$LDFLAGS" -o "dist/$name" ./cmd/drctl
done
(cd dist && sha256sum drctl_* >SHA256SUMS && cat SHA256SUMS)
