//go:build !drctl_off_secrets

package safeguard

// Secrets: a Secret that is there with other values is not overwritten unless that was asked for.
const Secrets = true
