//go:build !drctl_off_retain

package safeguard

// Retain: the old volume is set to Retain before its claim is deleted.
const Retain = true
