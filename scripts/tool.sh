#!/usr/bin/env bash
# Prints the path of a Go tool, built once per version and Go release: tool.sh NAME PACKAGE VERSION
set -euo pipefail
name=$1 package=$2 version=$3
dir=${DRCTL_LAB_BIN:-${XDG_CACHE_HOME:-$HOME/.cache}/drctl-lab}
path="$dir/$name-$version-$(go env GOVERSION)"
if [ ! -x "$path" ]; then
  echo "building $name $version (a few minutes from cold)" >&2
  tmp=$(mktemp -d)
  trap 'rm -rf "$tmp"' EXIT
  # Outside of the module: the tool's own dependencies must not mix with drctl's.
  (cd "$tmp" && GOBIN="$tmp" GOFLAGS=-buildvcs=false go install "$package@$version" >&2)
  mkdir -p "$dir"
  mv "$tmp/$name" "$path"
fi
echo "$path"
