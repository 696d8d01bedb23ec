package lab

// MissingForRecovery says what the recovery lab lacks on this machine, in words that go on a sentence
// ("… is shown where"); empty when it can be started.
func MissingForRecovery() string {
	if needsNode() != nil {
		return "the lab runs as root (it gives each Pod namespaces of its own)"
	}
	if _, err := findPostgres(); err != nil {
		return "PostgreSQL and Barman are installed (apt-get install postgresql barman-cli-cloud)"
	}
	return ""
}
