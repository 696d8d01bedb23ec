package volsync

import (
	"strings"

	"github.com/drctl/drctl/internal/recovery"
)

const (
	// maxUsernameBytes is where the mover cuts a username.
	maxUsernameBytes = 50
	// fallbackIdentity is used where nothing of a name is left.
	fallbackIdentity = "volsync-default"
	// defaultPath is where the mover mounts the volume.
	defaultPath = "/data"
)

// Overrides are the fields of spec.kopia that change where a mover writes. Empty means not set. The
// mover takes username and hostname as they stand, each on its own, for a ReplicationSource; on a
// ReplicationDestination it refuses the one without the other.
type Overrides struct {
	Username   string
	Hostname   string
	SourcePath string
}

// Identity computes the Kopia source of a ReplicationSource: username@hostname:path.
//
// The username is the object's name with only [A-Za-z0-9_-] kept (a dot is dropped), then trimmed of - and _
// at both ends, then cut at 50 bytes. It is not trimmed again after the cut, so it may end in a dash.
// The hostname is the namespace with [A-Za-z0-9.-] kept and _ made a dash, trimmed of - and . at both ends,
// and not cut.
// Source: perfectra1n/volsync internal/controller/mover/kopia/builder.go.
func Identity(namespace, name string, overrides Overrides) recovery.KopiaSource {
	return recovery.KopiaSource{
		Username: firstOf(overrides.Username, cut(username(name), maxUsernameBytes), fallbackIdentity),
		Hostname: firstOf(overrides.Hostname, hostname(namespace), hostname(name), fallbackIdentity),
		Path:     firstOf(overrides.SourcePath, defaultPath),
	}
}

func username(name string) string {
	kept := strings.Map(func(r rune) rune {
		if isAlphanumeric(r) || r == '-' || r == '_' {
			return r
		}
		return -1
	}, name)
	return strings.Trim(kept, "-_")
}

func hostname(namespace string) string {
	kept := strings.Map(func(r rune) rune {
		switch {
		case isAlphanumeric(r) || r == '-' || r == '.':
			return r
		case r == '_':
			return '-'
		default:
			return -1
		}
	}, namespace)
	return strings.Trim(kept, "-.")
}

func isAlphanumeric(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
}

// cut shortens an ASCII text.
func cut(text string, length int) string {
	return text[:min(len(text), length)]
}

// firstOf is the first text that is not empty.
func firstOf(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}
