package command

import (
	"fmt"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/ui"
)

// Board tells on stderr how many plans go that run side by side: one line for each that ended, and on a
// terminal below them one moving line for each that is under way.
type Board struct {
	streams ui.Streams
	now     func() time.Time
	total   int
	begun   time.Time

	mu            sync.Mutex
	rows          []*row
	ended, failed int
	moving        *ui.Moving
	// turn is which picture of the spinner is next.
	turn int

	stop    chan struct{}
	stopped sync.WaitGroup
}

// row is a plan that is under way.
type row struct {
	plan, target string
	begun        time.Time
	index, total int
	// title is the present step's, text what it waits for.
	title, text string
}

const (
	// boardRows are shown at most: more would scroll off a small terminal, where they can't be taken back.
	boardRows = 12
	// boardTurn is how often the moving lines are drawn, boardSign how often a log without them shows life.
	boardTurn = 150 * time.Millisecond
	boardSign = time.Minute
	spinner   = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
)

// NewBoard makes a board for so many plans. Close ends it.
func NewBoard(f *Factory, total int) *Board {
	b := &Board{streams: f.Streams, now: f.Now, total: total, begun: f.Now(), moving: ui.NewMoving(f.Streams), stop: make(chan struct{})}
	every, show := boardSign, b.sign
	if b.streams.Interactive {
		every, show = boardTurn, func() { b.draw("") }
	}
	b.stopped.Go(func() {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for {
			select {
			case <-b.stop:
				return
			case <-ticker.C:
				b.mu.Lock()
				show()
				b.mu.Unlock()
			}
		}
	})
	return b
}

// Began puts a plan on the board.
func (b *Board) Began(plan, target string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rows = append(b.rows, &row{plan: plan, target: target, begun: b.now()})
}

// Event is what the engines call.
func (b *Board) Event(e operation.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := b.find(e.Plan)
	if i < 0 {
		return
	}
	r := b.rows[i]
	switch e.Kind {
	case operation.StepStarted:
		r.index, r.total, r.title, r.text = e.Index, e.Total, e.Step.Title, ""
	case operation.UndoStarted:
		r.index, r.total, r.title, r.text = e.Index, e.Total, "undo: "+e.Step.Title, ""
	case operation.StepProgress:
		r.text = e.Text
	case operation.StepRetry:
		r.text = "trying again: " + e.Err.Error()
	}
}

// Ended says how a plan ended.
func (b *Board) Ended(plan, target string, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended++
	begun := b.now()
	if i := b.find(plan); i >= 0 {
		begun = b.rows[i].begun
		b.rows = slices.Delete(b.rows, i, i+1)
	}
	line := fmt.Sprintf("[%d/%d] %s (%s)", b.ended, b.total, target, b.since(begun))
	if err == nil {
		line = b.streams.Paint(ui.Good, "✓") + " " + line
	} else {
		b.failed++
		line = fmt.Sprintf("%s %s: %v", b.streams.Paint(ui.Bad, "✗"), line, err)
	}
	b.draw(line + "\n")
}

// Close takes the moving lines away.
func (b *Board) Close() {
	close(b.stop)
	b.stopped.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rows = nil
	b.draw("")
}

func (b *Board) find(plan string) int {
	return slices.IndexFunc(b.rows, func(r *row) bool { return r.plan == plan })
}

func (b *Board) since(begun time.Time) string { return ui.Age(b.now().Sub(begun).Round(time.Second)) }

// draw puts lines that stay in the place of the moving ones, and those below them anew. It is one write, so
// that nothing flickers.
func (b *Board) draw(stays string) {
	b.moving.Draw(stays, b.lines())
}

// lines are the moving ones.
func (b *Board) lines() []string {
	if len(b.rows) == 0 {
		return nil
	}
	shown := b.rows[:min(len(b.rows), boardRows)]
	widest := 0
	for _, r := range shown {
		widest = max(widest, utf8.RuneCountInString(r.target))
	}
	pictures := []rune(spinner)
	picture := string(pictures[b.turn%len(pictures)])
	b.turn++
	var lines []string
	for _, r := range shown {
		text := fmt.Sprintf("%-*s  %7s  %4s  %s", widest, r.target, fmt.Sprintf("[%d/%d]", r.index, r.total), b.since(r.begun), r.words())
		lines = append(lines, b.streams.Paint(ui.Good, picture)+" "+b.fit(text))
	}
	return append(lines, b.streams.Paint(ui.Faint, b.fit("  "+b.counts(len(b.rows)-len(shown)))))
}

// words is what a plan does now.
func (r *row) words() string {
	if r.text == "" {
		return r.title
	}
	return r.title + " · " + r.text
}

func (b *Board) counts(hidden int) string {
	text := fmt.Sprintf("%d of %d done, %d under way", b.ended-b.failed, b.total, len(b.rows))
	if hidden > 0 {
		text += fmt.Sprintf(" (%d not shown)", hidden)
	}
	if b.failed > 0 {
		text += fmt.Sprintf(", %d failed", b.failed)
	}
	return text + ", " + b.since(b.begun)
}

// fit cuts what would break the line: what moves must not be longer than one.
func (b *Board) fit(text string) string {
	const picture = 3
	return b.moving.Fit(text, picture)
}

// sign is a line in a log that would show nothing for hours.
func (b *Board) sign() {
	if len(b.rows) == 0 {
		return
	}
	_, _ = fmt.Fprintf(b.streams.Err, "· %s; the oldest: %s, %s\n", b.counts(0), b.rows[0].target, b.rows[0].words())
}
