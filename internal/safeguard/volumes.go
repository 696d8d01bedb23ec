//go:build !drctl_off_volumes

package safeguard

// WaitForVolumes: nothing is created before every volume, Pod and Job of the old object is gone.
const WaitForVolumes = true
