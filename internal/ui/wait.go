package ui

import (
	"fmt"
	"sync"
	"time"

	"github.com/briandowns/spinner"
)

// Waiting is something that goes on. Say tells what it waits for now, Done ends it.
type Waiting interface {
	Say(text string)
	Done()
}

// plainEvery is how often progress is said where no spinner can turn: enough for a log to show life.
const plainEvery = 10 * time.Second

// Wait shows that something goes on: a spinner with a line that changes on a terminal, plain lines, not
// too many, elsewhere.
func (s Streams) Wait(title string) Waiting {
	if !s.Interactive {
		return &plainWaiting{streams: s, title: title, last: time.Now()}
	}
	turning := spinner.New(spinner.CharSets[14], 100*time.Millisecond, spinner.WithWriter(s.Err))
	w := &turningWaiting{turning: turning, title: title, width: s.ErrWidth}
	turning.Lock()
	turning.Suffix = " " + w.fit(title)
	turning.Unlock()
	turning.Start()
	return w
}

type turningWaiting struct {
	turning *spinner.Spinner
	title   string
	width   int
}

// Say changes the line.
func (w *turningWaiting) Say(text string) {
	w.turning.Lock()
	w.turning.Suffix = " " + w.fit(w.title+" · "+text)
	w.turning.Unlock()
}

// fit cuts what would break the line: a spinner can take back one line only.
func (w *turningWaiting) fit(text string) string {
	const reserve = 4
	runes := []rune(text)
	if w.width <= reserve || len(runes) <= w.width-reserve {
		return text
	}
	return string(runes[:w.width-reserve]) + "…"
}

// Done takes the line away.
func (w *turningWaiting) Done() { w.turning.Stop() }

type plainWaiting struct {
	streams Streams
	title   string
	mu      sync.Mutex
	last    time.Time
}

// Say prints a line, unless the last one was a moment ago.
func (w *plainWaiting) Say(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if time.Since(w.last) < plainEvery {
		return
	}
	w.last = time.Now()
	_, _ = fmt.Fprintln(w.streams.Err, "  "+w.title+": "+text)
}

// Done has nothing to take away.
func (*plainWaiting) Done() {}
