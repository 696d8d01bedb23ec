package edit

import (
	"fmt"
	"slices"
	"strings"
)

// Diff shows the change as a unified diff without context; `git apply --unidiff-zero` takes it.
func (e Edited) Diff() string {
	before := slices.Collect(strings.Lines(string(e.Before)))
	after := slices.Collect(strings.Lines(string(e.After)))
	var b strings.Builder
	fmt.Fprintf(&b, "--- a/%s\n+++ b/%s\n", e.Path, e.Path)
	// An edit replaces lines and inserts lines, and never removes one.
	for i, j := 0, 0; j < len(after); i, j = i+1, j+1 {
		inserts := len(after)-j > len(before)-i
		switch {
		case i < len(before) && before[i] == after[j]:
		case inserts && (i == len(before) || (j+1 < len(after) && after[j+1] == before[i])):
			fmt.Fprintf(&b, "@@ -%d,0 +%d @@\n%s", i, j+1, diffLine("+", after[j]))
			i--
		default:
			fmt.Fprintf(&b, "@@ -%d +%d @@\n%s%s", i+1, j+1, diffLine("-", before[i]), diffLine("+", after[j]))
		}
	}
	return b.String()
}

// diffLine is a line of a diff; one without an end says so.
func diffLine(sign, line string) string {
	if strings.HasSuffix(line, "\n") {
		return sign + line
	}
	return sign + line + "\n\\ No newline at end of file\n"
}
