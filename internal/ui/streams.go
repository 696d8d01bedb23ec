// Package ui is how drctl talks to a terminal and to scripts: streams, formats, tables, progress,
// warnings. stdout is data; stderr is progress, warnings and prompts.
//
// It knows nothing of commands and nothing of clusters: it must not import cobra or any adapter.
package ui

import (
	"io"
	"os"

	"golang.org/x/term"
)

// Streams are where a command reads and writes, and what stands at the other end.
type Streams struct {
	In  io.Reader
	Out io.Writer
	Err io.Writer
	// Interactive: stderr is a terminal that can move its cursor, so a spinner may turn.
	Interactive bool
	// Color: stdout is a terminal that wants colours.
	Color bool
	// CanAsk: stdin is a terminal, and somebody can be asked.
	CanAsk bool
	// ErrWidth is the number of columns of the terminal behind stderr, 0 when it is none.
	ErrWidth int
	// Width is the terminal's number of columns, 0 when stdout is none.
	Width int
}

// SystemStreams are those of the process. A terminal counts as one unless CI, NO_COLOR or TERM=dumb
// says that nobody looks at it.
func SystemStreams(getenv func(string) string) Streams {
	s := Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}
	plain := getenv("CI") != "" || getenv("TERM") == "dumb"
	out := term.IsTerminal(int(os.Stdout.Fd()))
	s.Interactive = term.IsTerminal(int(os.Stderr.Fd())) && !plain && getenv("NO_COLOR") == ""
	s.Color = out && !plain && getenv("NO_COLOR") == ""
	s.CanAsk = term.IsTerminal(int(os.Stdin.Fd())) && getenv("CI") == ""
	if width, _, err := term.GetSize(int(os.Stderr.Fd())); err == nil {
		s.ErrWidth = width
	}
	if out {
		if width, _, err := term.GetSize(int(os.Stdout.Fd())); err == nil {
			s.Width = width
		}
	}
	return s
}
