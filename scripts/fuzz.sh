#!/usr/bin/env bash
# Runs every fuzz target for FUZZTIME, one after the other, and says how often each was executed. Inputs
# that are new are made smaller with 100 tries, not for a minute each: that would be most of the time.
set -euo pipefail
cd "$(dirname "$0")/.."
: "${FUZZTIME:=10m}"
failed=0
for file in $(git ls-files --cached --others --exclude-standard '*_test.go' | xargs grep -lE '^func Fuzz[A-Z]'); do
  package=./$(dirname "$file")
  for target in $(grep -oE '^func Fuzz[A-Za-z0-9_]+' "$file" | cut -d' ' -f2); do
    [ -z "${ONLY:-}" ] || [[ "$target" =~ $ONLY ]] || continue
    log=$(mktemp)
    # Making an input small that is merely interesting may take all of the time, so it gets ten tries.
    if go test "$package" -run '^$' -fuzz "^$target\$" -fuzztime "$FUZZTIME" -fuzzminimizetime 100x -fuzzminimizetime 10x ${FUZZPARALLEL:+-parallel "$FUZZPARALLEL"} >"$log" 2>&1; then
      printf '%s %s: %s\n' "$package" "$target" "$(grep -oE 'execs: [0-9]+' "$log" | tail -n 1)"
    else
      printf '%s %s: FOUND SOMETHING\n' "$package" "$target"; tail -n 40 "$log"; failed=1
    fi
    rm -f "$log"
  done
done
exit $failed
