//go:build drctl_off_volumes

package safeguard

// WaitForVolumes is switched off in this test build.
const WaitForVolumes = false
