//go:build !drctl_off_proof

package safeguard

// Proof: nothing of a claim is touched before the mover's own words prove what was restored.
const Proof = true
