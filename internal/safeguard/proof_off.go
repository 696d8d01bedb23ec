//go:build drctl_off_proof

package safeguard

// Proof is switched off in this test build.
const Proof = false
