//go:build drctl_off_writeahead

package safeguard

// WriteAhead is switched off in this test build.
const WriteAhead = false
