package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/lab/runbook"
)

// TestReadme runs every drctl command of the README and holds the printed output against what comes:
// line by line, with numbers, times and IDs read as the same. A make target must exist.
func TestReadme(t *testing.T) {
	l := shared.Lab(t)
	environment := append(l.Environment(), "ENDPOINT="+l.MinIO.EndpointURL, "RESCUE="+filepath.Join(t.TempDir(), "rescue"))
	commands, err := runbook.Commands("README.md")
	require.NoError(t, err)
	ran := 0
	for _, command := range commands {
		t.Run(command.Line, func(t *testing.T) {
			words := strings.Fields(strings.Split(command.Line, " #")[0])
			switch words[0] {
			case "make":
				root, err := lab.ModuleRoot()
				require.NoError(t, err)
				out, err := exec.CommandContext(t.Context(), "make", "-n", "-C", root, words[1]).CombinedOutput()
				require.NoError(t, err, string(out))
			case "go":
				require.Equal(t, "github.com/drctl/drctl/cmd/drctl@latest", words[2])
			case "drctl":
				if standsInRunbook(t, command.Line) {
					return // and is run there, on a database or a claim that can be lost
				}
				got := run(t, l, environment, expand(words[1:], environment)...)
				require.Zero(t, got.code, got.stderr)
				requireShape(t, command.Output, got.stdout+got.stderr)
				ran++
			default:
				require.Fail(t, "the README has a command that no test knows", command.Line)
			}
		})
	}
	require.GreaterOrEqual(t, ran, 8)
}

// standsInRunbook reports whether the very command stands in a runbook, whose commands are all run by the
// tests of recoveries and restores.
func standsInRunbook(t *testing.T, line string) bool {
	t.Helper()
	root, err := lab.ModuleRoot()
	require.NoError(t, err)
	runbooks, err := filepath.Glob(filepath.Join(root, "docs", "runbooks", "*.md"))
	require.NoError(t, err)
	require.NotEmpty(t, runbooks)
	for _, path := range runbooks {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		if strings.Contains(string(text), "\n$ "+line+"\n") {
			return true
		}
	}
	return false
}

func expand(words, environment []string) []string {
	var out []string
	for _, word := range words {
		out = append(out, os.Expand(strings.Trim(word, `"`), func(name string) string {
			for _, variable := range environment {
				if value, found := strings.CutPrefix(variable, name+"="); found {
					return value
				}
			}
			return ""
		}))
	}
	return out
}

// requireShape asks for each printed line to come, up to values that differ from run to run. The
// README may leave lines out, it may not invent any.
func requireShape(t *testing.T, printed []string, got string) {
	t.Helper()
	lines := map[string]bool{}
	for line := range strings.SplitSeq(got, "\n") {
		lines[shape(line)] = true
	}
	for _, line := range printed {
		require.True(t, lines[shape(line)], "the README prints a line that does not come: %s\nwhat comes:\n%s", line, got)
	}
}

var (
	timeOrID = regexp.MustCompile(`\b(\d{4}-\d{2}-\d{2}[ T][\d:]+Z|[0-9a-f]{32}|\d+h\d+m|\d+[smhd]\b|\d+(\.\d+)? (KiB|MiB))`)
	blanks   = regexp.MustCompile(`\s+`)
)

func shape(line string) string {
	return blanks.ReplaceAllString(timeOrID.ReplaceAllString(line, "#"), " ")
}
