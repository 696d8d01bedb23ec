//go:build drctl_off_secrets

package safeguard

// Secrets is switched off in this test build.
const Secrets = false
