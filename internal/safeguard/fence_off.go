//go:build drctl_off_fence

package safeguard

// Fence is switched off in this test build.
const Fence = false
