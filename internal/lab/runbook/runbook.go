// Package runbook reads the console blocks of the documentation, so that tests run each command as it stands
// there and hold what is printed below it against what comes.
//
// It must not import any package of drctl but lab.
package runbook

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/drctl/drctl/internal/lab"
)

// Command is a line of a console block with the output that is printed below it.
type Command struct {
	Line   string
	Output []string
}

// Book is a file of docs/runbooks in the hands of an operator: its commands are taken one after the other.
type Book struct {
	commands []Command
	// replace holds what stands in the runbook as an example, and what is meant today.
	replace *strings.Replacer
}

// Open opens a file of docs/runbooks. Replace are pairs: what stands in it as an example, and what is meant.
func Open(name string, replace ...string) (*Book, error) {
	commands, err := Commands(filepath.Join("docs", "runbooks", name))
	return &Book{commands: commands, replace: strings.NewReplacer(replace...)}, err
}

// Commands are the console blocks' commands of a file, whose path is relative to the module's root.
func Commands(path string) ([]Command, error) {
	root, err := lab.ModuleRoot()
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		return nil, fmt.Errorf("runbook: %w", err)
	}
	var commands []Command
	for _, block := range regexp.MustCompile("(?s)```console\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		for line := range strings.SplitSeq(strings.TrimSpace(block[1]), "\n") {
			if command, found := strings.CutPrefix(line, "$ "); found {
				commands = append(commands, Command{Line: command})
			} else if line != "" {
				if len(commands) == 0 {
					return nil, fmt.Errorf("runbook: %s: a console block begins with output: %s", path, line)
				}
				last := &commands[len(commands)-1]
				last.Output = append(last.Output, line)
			}
		}
	}
	return commands, nil
}

// Next takes the next command, which must be the given one.
func (b *Book) Next(line string) (Command, error) {
	if len(b.commands) == 0 {
		return Command{}, fmt.Errorf("the runbook has no command left, not %q", line)
	}
	next := b.commands[0]
	if next.Line != line {
		return Command{}, fmt.Errorf("the runbook goes on with %q, not with %q", next.Line, line)
	}
	b.commands = b.commands[1:]
	return next, nil
}

// End: every command of the runbook was taken.
func (b *Book) End() error {
	if len(b.commands) > 0 {
		return fmt.Errorf("the runbook's command %q was not run", b.commands[0].Line)
	}
	return nil
}

// AtTerminal makes a command that runs the line as an operator does: at a terminal, in the folder and with the
// variables of drctl, whose program is called drctl, and with what is typed when something is asked for.
func (b *Book) AtTerminal(ctx context.Context, drctl *exec.Cmd, line, typed string) *exec.Cmd {
	// script gives it a terminal, and ends as the command does.
	cmd := exec.CommandContext(ctx, "script", "--quiet", "--return", "--command", b.replace.Replace(line), os.DevNull)
	cmd.Dir, cmd.Stdin = drctl.Dir, strings.NewReader(typed+"\n")
	cmd.Env = append(append([]string{}, drctl.Env...),
		"PATH="+filepath.Dir(drctl.Path)+":"+os.Getenv("PATH"), "NO_COLOR=1", "SHELL=/bin/sh", "TERM=xterm")
	return cmd
}

// Shown asks for each line that stands below the command, up to values that differ from run to run. The
// documentation may leave lines out, it may not invent any.
func (c Command) Shown(came, typed string) error {
	// What is typed is there before it is asked for, and so is echoed ahead of everything.
	came = strings.ReplaceAll(came, "to go on: ", "to go on: "+typed+"\n")
	lines := map[string]bool{}
	for line := range strings.SplitSeq(came, "\n") {
		lines[shape(line)] = true
	}
	for _, line := range c.Output {
		if !lines[shape(line)] {
			return fmt.Errorf("%s\nthe runbook shows a line that does not come: %s\nas %s\nwhat comes:\n%s", c.Line, line, shape(line), came)
		}
	}
	return nil
}

// shape takes out of a line what differs from run to run: every word with a digit in it, sizes, and how long a
// step took.
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
