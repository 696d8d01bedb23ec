package recover

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/lab/flipworld"
)

// runbook is a file of docs/runbooks in the hands of an operator. Its commands are run as they stand
// there, one after the other, with the platform's checkout in ~/src/platform.
type runbook struct {
	operator *flipworld.Operator
	commands []consoleCommand
	// replace holds what stands in the runbook as an example, and what is meant today.
	replace *strings.Replacer
}

// consoleCommand is a line of a console block with the output that is printed below it.
type consoleCommand struct {
	line   string
	output []string
}

func openRunbook(t *testing.T, name string, o *flipworld.Operator, replace ...string) *runbook {
	t.Helper()
	root, err := lab.ModuleRoot()
	require.NoError(t, err)
	text, err := os.ReadFile(filepath.Join(root, "docs", "runbooks", name))
	require.NoError(t, err)
	b := &runbook{operator: o, replace: strings.NewReplacer(replace...)}
	for _, block := range regexp.MustCompile("(?s)```console\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		for line := range strings.SplitSeq(strings.TrimSpace(block[1]), "\n") {
			if command, found := strings.CutPrefix(line, "$ "); found {
				b.commands = append(b.commands, consoleCommand{line: command})
			} else if line != "" {
				last := &b.commands[len(b.commands)-1]
				last.output = append(last.output, line)
			}
		}
	}
	require.NoError(t, os.MkdirAll(filepath.Join(o.Home, "src"), 0o700))
	require.NoError(t, os.Symlink(o.Tree, filepath.Join(o.Home, "src", "platform")))
	return b
}

// step runs the next command, which must be the given one, on a terminal at which the operator types what
// is asked for. What the runbook shows of the output must come.
func (b *runbook) step(t *testing.T, line, typed string) string {
	t.Helper()
	require.NotEmpty(t, b.commands, "the runbook has no command left")
	next := b.commands[0]
	b.commands = b.commands[1:]
	require.Equal(t, line, next.line, "the runbook goes on with another command")
	drctl := b.operator.Command(t.Context())
	// script gives it a terminal, and ends as the command does.
	cmd := exec.CommandContext(t.Context(), "script", "--quiet", "--return", "--command", b.replace.Replace(line), os.DevNull)
	cmd.Dir, cmd.Stdin = drctl.Dir, strings.NewReader(typed+"\n")
	cmd.Env = append(drctl.Env, "PATH="+filepath.Dir(shared.program)+":"+os.Getenv("PATH"), "NO_COLOR=1", "SHELL=/bin/sh", "TERM=xterm")
	world(t).Proxy.Reset()
	got := finish(t, b.operator, cmd)
	require.Zero(t, got.ExitCode)
	// What is typed is there before it is asked for, and so is echoed ahead of everything.
	shown := strings.ReplaceAll(got.Stdout, "to go on: ", "to go on: "+typed+"\n")
	b.requireShown(t, next, shown)
	return shown
}

// requireShown asks for each line that the runbook shows, up to values that differ from run to run. It may
// leave lines out, it may not invent any.
func (b *runbook) requireShown(t *testing.T, command consoleCommand, got string) {
	t.Helper()
	came := map[string]bool{}
	for line := range strings.SplitSeq(got, "\n") {
		came[shape(line)] = true
	}
	for _, line := range command.output {
		require.True(t, came[shape(line)], "%s\nthe runbook shows a line that does not come: %s\nas %s\nwhat comes:\n%s", command.line, line, shape(line), got)
	}
}

// requireAtEnd: every command of the runbook was run.
func (b *runbook) requireAtEnd(t *testing.T) {
	t.Helper()
	require.Empty(t, b.commands)
}

// shape takes out of a line what differs from run to run: every word with a digit in it, sizes, and how
// long a step took.
func shape(line string) string {
	for _, part := range []struct{ pattern, replacement string }{
		{` \((was so already|\S*\d+[smh]\S*)\)`, ""},
		{`\S*\d\S*( ([KMGT]i)?B\b)?`, "#"},
		{`\s+`, " "},
	} {
		line = regexp.MustCompile(part.pattern).ReplaceAllString(line, part.replacement)
	}
	return strings.TrimSpace(line)
}
