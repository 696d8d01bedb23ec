package command

import (
	"fmt"
	"sync"
	"time"

	"github.com/jedib0t/go-pretty/v6/progress"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/ui"
)

// Board tells on stderr how many plans go that run side by side: on a terminal one moving line for each of
// them, elsewhere one line for each that ended.
type Board struct {
	streams ui.Streams
	now     func() time.Time
	total   int

	mu    sync.Mutex
	live  progress.Writer
	rows  map[string]*row
	ended int
}

// row is one plan on the board.
type row struct {
	target  string
	began   time.Time
	tracker *progress.Tracker
}

// boardWidth is the bar's; the rest of the line is for words.
const boardWidth = 16

// NewBoard makes a board for so many plans.
func NewBoard(f *Factory, total int) *Board {
	b := &Board{streams: f.Streams, now: f.Now, total: total, rows: map[string]*row{}}
	if !b.streams.Interactive {
		return b
	}
	b.live = progress.NewWriter()
	b.live.SetOutputWriter(b.streams.Err)
	b.live.SetAutoStop(false)
	b.live.SetTrackerLength(boardWidth)
	b.live.SetTrackerPosition(progress.PositionLeft)
	b.live.SetUpdateFrequency(200 * time.Millisecond)
	b.live.SetSortBy(progress.SortByMessage)
	b.live.SetNumTrackersExpected(total)
	b.live.SetTerminalWidth(b.streams.ErrWidth)
	b.live.Style().Visibility.ETA, b.live.Style().Visibility.Percentage, b.live.Style().Visibility.Speed = false, false, false
	b.live.Style().Visibility.TrackerOverall = total > 1
	go b.live.Render()
	return b
}

// Began puts a plan on the board.
func (b *Board) Began(plan, target string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := &row{target: target, began: b.now()}
	b.rows[plan] = r
	if b.live != nil {
		r.tracker = &progress.Tracker{Message: target, Units: progress.UnitsDefault}
		b.live.AppendTracker(r.tracker)
	}
}

// Event is what the engines call.
func (b *Board) Event(e operation.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.rows[e.Plan]
	if r == nil || r.tracker == nil {
		return
	}
	r.tracker.UpdateTotal(int64(e.Total))
	switch e.Kind {
	case operation.StepStarted, operation.UndoStarted:
		r.tracker.SetValue(int64(e.Index - 1))
		r.tracker.UpdateMessage(b.fit(r.target + "  " + e.Step.Title))
	case operation.StepProgress:
		r.tracker.UpdateMessage(b.fit(r.target + "  " + e.Text))
	case operation.StepRetry:
		r.tracker.UpdateMessage(b.fit(r.target + "  trying again: " + e.Err.Error()))
	}
}

// fit cuts what would break the line.
func (b *Board) fit(text string) string {
	const reserve = boardWidth + 24
	runes := []rune(text)
	if b.streams.ErrWidth <= reserve || len(runes) <= b.streams.ErrWidth-reserve {
		return text
	}
	return string(runes[:b.streams.ErrWidth-reserve]) + "…"
}

// Ended says how a plan ended.
func (b *Board) Ended(plan, target string, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended++
	r := b.rows[plan]
	if r == nil {
		r = &row{target: target, began: b.now()}
	}
	if r.tracker != nil {
		r.tracker.UpdateMessage(b.fit(target))
		if err == nil {
			r.tracker.SetValue(r.tracker.Total)
			r.tracker.MarkAsDone()
		} else {
			r.tracker.MarkAsErrored()
		}
		return
	}
	if b.live != nil {
		return
	}
	took := ui.Age(b.now().Sub(r.began).Round(time.Second))
	if err == nil {
		_, _ = fmt.Fprintf(b.streams.Err, "%s [%d/%d] %s (%s)\n", b.streams.Paint(ui.Good, "✓"), b.ended, b.total, target, took)
		return
	}
	_, _ = fmt.Fprintf(b.streams.Err, "%s [%d/%d] %s (%s): %v\n", b.streams.Paint(ui.Bad, "✗"), b.ended, b.total, target, took, err)
}

// Close ends the moving lines.
func (b *Board) Close() {
	if b.live == nil {
		return
	}
	// What was said last must be seen.
	time.Sleep(300 * time.Millisecond)
	b.live.Stop()
	for b.live.IsRenderInProgress() {
		time.Sleep(10 * time.Millisecond)
	}
}
