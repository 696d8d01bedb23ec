//go:build !drctl_off_writeahead

package safeguard

// WriteAhead: the journal has an effect before the cluster has it.
const WriteAhead = true
