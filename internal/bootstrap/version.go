package bootstrap

import "github.com/Masterminds/semver/v3"

// older compares the versions of charts. What is no semantic version is older than nothing.
func older(a, b string) bool {
	left, err := semver.NewVersion(a)
	if err != nil {
		return false
	}
	right, err := semver.NewVersion(b)
	return err == nil && left.LessThan(right)
}
