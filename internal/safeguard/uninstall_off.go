//go:build drctl_off_uninstall

package safeguard

// Uninstall is switched off in this test build.
const Uninstall = false
