package ui

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/briandowns/spinner"

	"github.com/drctl/drctl/internal/recovery"
)

// quietFor is how long work may take before anything is said of it.
const quietFor = time.Second

// Working says on stderr what is going on when it takes longer than a second: a spinner on a terminal,
// one plain line elsewhere. The function that it returns ends it.
func (s Streams) Working(text string) (done func()) {
	var mu sync.Mutex
	var turning *spinner.Spinner
	ended := false
	timer := time.AfterFunc(quietFor, func() {
		mu.Lock()
		defer mu.Unlock()
		if ended {
			return
		}
		if !s.Interactive {
			_, _ = fmt.Fprintln(s.Err, text+" …")
			return
		}
		turning = spinner.New(spinner.CharSets[14], 100*time.Millisecond, spinner.WithWriter(s.Err))
		turning.Suffix = " " + text
		turning.Start()
	})
	return func() {
		timer.Stop()
		mu.Lock()
		defer mu.Unlock()
		ended = true
		if turning != nil {
			turning.Stop()
		}
	}
}

// Warn prints a warning to stderr.
func (s Streams) Warn(format string, args ...any) {
	_, _ = fmt.Fprintln(s.Err, s.Paint(Caution, "Warning:"), fmt.Sprintf(format, args...))
}

// Fail prints an error to stderr as three short lines: what happened, why, what to type next. An
// error that is no Problem is one line.
func (s Streams) Fail(err error) {
	_, _ = fmt.Fprint(s.Err, Explain(err))
}

// Explain renders an error for people.
func Explain(err error) string {
	var p *recovery.Problem
	if !errors.As(err, &p) {
		return "Error: " + err.Error() + "\n"
	}
	var b strings.Builder
	b.WriteString("Error: " + p.What + "\n")
	if why := p.Cause(); why != "" {
		b.WriteString("  why:  " + why + "\n")
	}
	if p.Next != "" {
		b.WriteString("  next: " + p.Next + "\n")
	}
	return b.String()
}
