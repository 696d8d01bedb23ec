#!/bin/sh
# Stands for the program of VolSync's Kopia mover, with the real Kopia. What it prints, what it selects and what
# it takes for success follow that program, the unpleasant parts included.
# Source: perfectra1n/volsync mover-kopia/entry.sh (check_contents, ensure_connected, do_backup, do_retention,
# select_snapshot_to_restore, do_restore, discover_available_snapshots).
set -eu

export HOME=/tmp KOPIA_CONFIG_PATH=/tmp/kopia.config KOPIA_LOG_DIR=/tmp/logs KOPIA_CACHE_DIRECTORY="$KOPIA_CACHE_DIR" KOPIA_CHECK_FOR_UPDATES=false
identity=$KOPIA_OVERRIDE_USERNAME@$KOPIA_OVERRIDE_HOSTNAME

kopia() { /mover-kopia/kopia "$@"; }
say() { echo "INFO: $*"; }
fail() { echo "ERROR: $*"; exit 1; }

# What a test ordered of this mover, by a file that can change while it runs; the last one is for all of its
# namespace.
orders() { for name in $LAB_ORDERS; do [ ! -f "/mover-kopia/orders/$name" ] || { echo "/mover-kopia/orders/$name"; return; }; done; }
order() { cat "$(orders)" 2>/dev/null || true; }

obey() {
  while [ "$(order)" = hang ]; do sleep 0.2; done
  case "$(order)" in
    wait\ *) sleep "$(order | cut -d' ' -f2)" ;;
    fail\ *)
      left=$(order | cut -d' ' -f2)
      if [ "$left" -gt 0 ]; then
        echo "fail $((left - 1))" > "$(orders)"
        fail "Failed to restore snapshot: a test ordered it"
      fi ;;
  esac
}

connect() {
  say "=== Starting repository connection process ==="
  path=${KOPIA_REPOSITORY#filesystem://}
  # A real mover would create a repository where it finds none; so would this one, in a folder that can be
  # written to.
  kopia repository connect filesystem --path="$path" --override-username="$KOPIA_OVERRIDE_USERNAME" \
    --override-hostname="$KOPIA_OVERRIDE_HOSTNAME" ||
    kopia repository create filesystem --path="$path" --override-username="$KOPIA_OVERRIDE_USERNAME" \
      --override-hostname="$KOPIA_OVERRIDE_HOSTNAME" || fail "Failed to create repository"
}

backup() {
  echo "=== Checking directory for content ==="
  if [ -z "$(ls -A -- "$DATA_DIR" 2>/dev/null | grep -vx 'lost+found' || true)" ]; then
    echo "== Directory is empty skipping backup ==="
    exit 0
  fi
  connect
  say "=== Starting backup operation ==="
  set -- "$DATA_DIR"
  [ -z "${KOPIA_PARALLELISM:-}" ] || set -- "$@" --parallel="$KOPIA_PARALLELISM"
  if [ -n "${KOPIA_SOURCE_PATH_OVERRIDE:-}" ]; then
    echo "Using source path override: $KOPIA_SOURCE_PATH_OVERRIDE"
    set -- "$@" --override-source="$KOPIA_SOURCE_PATH_OVERRIDE"
  fi
  say "Creating snapshot for $identity:${KOPIA_SOURCE_PATH_OVERRIDE:-$DATA_DIR}"
  kopia snapshot create "$@" </dev/null || fail "Failed to create snapshot"
  say "Snapshot created successfully"
  retain
  # The export of the platform maps everybody to one account (mapall); this folder cannot.
  [ "$(id -u)" -ne 0 ] || chown -R --reference="$path" "$path" 2>/dev/null || true
}

retain() {
  echo "=== Applying retention policy ==="
  set --
  for pair in latest:LATEST hourly:HOURLY daily:DAILY weekly:WEEKLY monthly:MONTHLY annual:YEARLY; do
    eval "value=\${KOPIA_RETAIN_${pair#*:}:-}"
    [ -z "$value" ] || set -- "$@" "--keep-${pair%%:*}=$value"
  done
  if [ $# -gt 0 ]; then
    kopia policy set "$DATA_DIR" "$@" || echo "Warning: Failed to set retention policy, continuing with defaults"
  fi
}

# Prints the selected snapshot's ID, or nothing: also where the listing failed.
select_snapshot() {
  [ "$(order)" != nothing ] || return 0
  listed=$(kopia snapshot list "$identity:${KOPIA_SOURCE_PATH_OVERRIDE:-/data}" --json 2>&1) || true
  skip=${KOPIA_PREVIOUS:-0}
  if [ -n "${KOPIA_RESTORE_AS_OF:-}" ]; then
    # The times are compared as texts.
    echo "$listed" | jq -r --arg until "$KOPIA_RESTORE_AS_OF" --argjson skip "$skip" \
      '[reverse[] | select(.startTime <= $until)][$skip:][:1][].id' 2>/dev/null || true
  else
    # Beyond the last one this prints null, which no repository has.
    [ "$listed" = "" ] || [ "$(echo "$listed" | tr -d '[:space:]')" = "[]" ] ||
      echo "$listed" | jq -r --argjson skip "$skip" 'reverse[$skip].id' 2>/dev/null || true
  fi
}

discover() {
  echo "No snapshots found for $identity:${KOPIA_SOURCE_PATH_OVERRIDE:-/data}"
  echo "=== Discovery Mode: Available Snapshots ==="
  kopia snapshot list --all --json 2>/dev/null |
    jq -c '.[] | {id, userName: .source.userName, hostName: .source.host, path: .source.path, startTime, endTime}' 2>/dev/null || true
  echo "=== End Discovery Mode ==="
}

restore() {
  connect
  say "=== Starting restore operation ==="
  if [ "${KOPIA_ENABLE_FILE_DELETION:-}" = true ]; then
    echo "File deletion enabled - cleaning destination directory before restore"
    find "$DATA_DIR" -mindepth 1 -maxdepth 1 ! -name lost+found -exec rm -rf {} + 2>/dev/null || true
  fi
  id=$(select_snapshot)
  if [ -z "$id" ]; then
    echo "No eligible snapshots found"
    discover
    echo "=== No data will be restored ==="
    return 0
  fi
  echo "Selected snapshot with id: $id"
  cd "$DATA_DIR"
  say "Executing restore command..."
  kopia snapshot restore "$id" . --write-files-atomically --ignore-permission-errors || { discover; fail "Failed to restore snapshot: $id"; }
  say "Snapshot restore completed successfully"
}

[ -d "$DATA_DIR" ] || fail "Data directory $DATA_DIR does not exist"
obey
for action in "$@"; do
  case $action in
    backup) backup ;;
    restore) restore ;;
    *) fail "unknown operation: $action" ;;
  esac
done
say "=== Done ==="
