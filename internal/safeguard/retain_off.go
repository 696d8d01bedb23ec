//go:build drctl_off_retain

package safeguard

// Retain is switched off in this test build.
const Retain = false
