//go:build !drctl_off_uid

package safeguard

// UIDPrecondition: a delete carries the UID of the object that the plan means.
const UIDPrecondition = true
