//go:build !drctl_off_fence

package safeguard

// Fence: the creation of the object is fenced before the old one is deleted.
const Fence = true
