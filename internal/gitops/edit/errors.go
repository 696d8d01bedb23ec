package edit

import (
	"fmt"
	"strings"

	"github.com/drctl/drctl/internal/recovery"
)

// Unrecognised is the answer for a manifest that drctl does not change on its own. Nothing was written.
type Unrecognised struct {
	// What was to be changed: "set the backup server of Cluster databases/media".
	What string
	// Why it is not done, with file and line where they are known.
	Why string
	// ManualPatch is the change to make by hand, in the form of a unified diff, for people to read.
	ManualPatch string
}

// Error renders the problem on one line, without the patch.
func (u *Unrecognised) Error() string { return u.problem().Error() }

// Unwrap gives the same as a *recovery.Problem of kind ErrUnsupported.
func (u *Unrecognised) Unwrap() error { return u.problem() }

func (u *Unrecognised) problem() *recovery.Problem {
	return &recovery.Problem{
		What: u.What, Why: u.Why,
		Next: "make the change by hand, as the patch shows it, commit it without pushing, and run the command again",
		Err:  recovery.ErrUnsupported,
	}
}

// reason is why an edit is refused, ahead of its becoming an Unrecognised.
type reason struct {
	line int // 1-based within the file; 0 when unknown
	text string
	// shape is what stands there, so that the manual patch is in the same shape.
	shape shape
}

func (r *reason) Error() string {
	if r.line == 0 {
		return r.text
	}
	return fmt.Sprintf("line %d: %s", r.line, r.text)
}

// shape is how a Cluster says where it writes its backups.
type shape int

const (
	inTree shape = iota // spec.backup.barmanObjectStore
	plugin              // spec.plugins[name=barman-cloud.cloudnative-pg.io]
)

// unrecognised wraps a reason.
func unrecognised(why *reason, file string, target Target, from, to string) *Unrecognised {
	text := why.Error()
	if file != "" {
		text = file + ": " + text
	}
	return &Unrecognised{What: "set the backup server of " + target.String(), Why: text, ManualPatch: manualPatch(file, target, why.shape, from, to)}
}

// manualPatch shows the change as it would look in a manifest of that shape.
func manualPatch(file string, target Target, form shape, from, to string) string {
	var b strings.Builder
	if file == "" {
		file = strings.ToLower(target.Kind) + ".yaml"
	}
	fmt.Fprintf(&b, "--- a/%s\n+++ b/%s\n@@ %s @@\n spec:\n", file, file, target)
	if form == plugin {
		b.WriteString("   plugins:\n     - name: " + pluginName + "\n       parameters:\n")
		fmt.Fprintf(&b, "-        serverName: %s\n+        serverName: %s\n", from, to)
		return b.String()
	}
	b.WriteString("   backup:\n     barmanObjectStore:\n")
	fmt.Fprintf(&b, "-      serverName: %s\n+      serverName: %s\n", from, to)
	return b.String()
}
