//go:build drctl_off_uid

package safeguard

// UIDPrecondition is switched off in this test build.
const UIDPrecondition = false
