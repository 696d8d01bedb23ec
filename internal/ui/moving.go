package ui

import (
	"fmt"
	"io"
	"strings"
)

// Moving are lines at the end of a terminal that are drawn anew in their place. Where no cursor can be moved only
// what stays is written. It is not safe for concurrent use.
type Moving struct {
	streams Streams
	drawn   int
}

// NewMoving makes moving lines on stderr.
func NewMoving(s Streams) *Moving { return &Moving{streams: s} }

// Draw puts lines that stay (each with its line break) in the place of the moving ones, and those below them anew.
// It is one write, so that nothing flickers. No moving line may be longer than the terminal is wide: see Fit.
func (m *Moving) Draw(stays string, lines []string) {
	if !m.streams.Interactive {
		_, _ = io.WriteString(m.streams.Err, stays)
		return
	}
	const clearLine, clearBelow = "\x1b[K", "\x1b[J"
	var s strings.Builder
	if m.drawn > 0 {
		fmt.Fprintf(&s, "\x1b[%dA", m.drawn)
	}
	s.WriteString(strings.ReplaceAll(stays, "\n", clearLine+"\n"))
	for _, line := range lines {
		s.WriteString(line + clearLine + "\n")
	}
	if m.drawn > len(lines) {
		s.WriteString(clearBelow)
	}
	m.drawn = len(lines)
	_, _ = io.WriteString(m.streams.Err, s.String())
}

// Fit cuts what would break a moving line, with so many columns beside it.
func (m *Moving) Fit(text string, beside int) string {
	const unknown = 80
	columns := m.streams.ErrWidth
	if columns <= beside {
		columns = unknown
	}
	runes := []rune(text)
	if len(runes) <= columns-beside {
		return text
	}
	return string(runes[:max(columns-beside-1, 0)]) + "…"
}
