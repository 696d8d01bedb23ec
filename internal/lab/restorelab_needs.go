package lab

import "os/exec"

// MissingForRestore says what this machine lacks for UpRestore, empty when all is there.
func MissingForRestore() string {
	if needsNode() != nil {
		return "the lab runs as root (it gives each Pod namespaces of its own)"
	}
	if _, err := exec.LookPath("jq"); err != nil {
		return "jq is installed (apt-get install jq): movers use it"
	}
	return ""
}
