//go:build !drctl_off_uninstall

package safeguard

// Uninstall: a release is not removed while there are Applications.
const Uninstall = true
