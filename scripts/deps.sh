#!/usr/bin/env bash
# Installs the Debian packages that the lab's real parts come from; without root it says which are
# missing and fails: a test that quietly did without them would prove nothing.
set -euo pipefail

missing=()
need() { # PROGRAM PACKAGE
  command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || missing+=("$2")
}
need barman-cloud-backup barman-cli-cloud
need ganesha.nfsd nfs-ganesha
need rpcbind rpcbind
need setpriv util-linux
need jq jq
compgen -G "/usr/lib*/*/ganesha/libfsalvfs.so" >/dev/null || compgen -G "/usr/lib/ganesha/libfsalvfs.so" >/dev/null || missing+=(nfs-ganesha-vfs)
compgen -G "/usr/lib/postgresql/*/bin/postgres" >/dev/null || missing+=(postgresql)
python3 -c 'import snappy' >/dev/null 2>&1 || /usr/bin/python3 -c 'import snappy' >/dev/null 2>&1 || missing+=(python3-snappy)

[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
  echo "The lab needs programs that are not installed. On Debian or Ubuntu, as root:" >&2
  echo "  apt-get install ${missing[*]}" >&2
  exit 1
fi
echo "Installing ${missing[*]} …"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
