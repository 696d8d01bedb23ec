package command

import (
	"fmt"
	"sync"
	"time"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/ui"
)

// Reporter tells on stderr how a plan goes: one line for each step that ended, and on a terminal a
// spinner with what the present one waits for.
type Reporter struct {
	streams ui.Streams
	now     func() time.Time

	mu      sync.Mutex
	begun   time.Time
	waiting ui.Waiting
	said    string
}

// NewReporter makes a reporter for one run.
func NewReporter(f *Factory) *Reporter { return &Reporter{streams: f.Streams, now: f.Now} }

// Event is what the engine calls.
func (r *Reporter) Event(e operation.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch e.Kind {
	case operation.StepStarted:
		r.begin(e, e.Step.Title)
	case operation.UndoStarted:
		r.begin(e, "undo: "+e.Step.Title)
	case operation.StepProgress:
		r.progress(e.Text)
	case operation.StepRetry:
		r.progress("trying again: " + e.Err.Error())
	case operation.StepDone:
		r.end(ui.Good, "✓", e.Step.Title, e)
	case operation.StepSkipped:
		r.end(ui.Faint, "✓", e.Step.Title+" (was so already)", e)
	case operation.UndoDone:
		r.end(ui.Good, "↺", "undone: "+e.Step.Title, e)
	case operation.StepFailed, operation.UndoFailed:
		r.end(ui.Bad, "✗", e.Step.Title, e)
	case operation.StepRenewed:
		r.line(ui.Faint, "✓", "still in force: "+e.Step.Title)
	case operation.UndoSkipped, operation.Note:
		r.stop()
		r.line(ui.Caution, "·", e.Text)
	}
}

// Close ends a spinner that still turns.
func (r *Reporter) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stop()
}

func (r *Reporter) begin(e operation.Event, title string) {
	r.stop()
	r.begun, r.said = r.now(), ""
	r.waiting = r.streams.Wait(fmt.Sprintf("[%d/%d] %s", e.Index, e.Total, title))
}

func (r *Reporter) progress(text string) {
	if text == r.said {
		return
	}
	r.said = text
	if r.waiting != nil {
		r.waiting.Say(text)
	}
}

func (r *Reporter) end(tone ui.Tone, sign, title string, e operation.Event) {
	r.stop()
	text := fmt.Sprintf("[%d/%d] %s", e.Index, e.Total, title)
	if took := r.now().Sub(r.begun); !r.begun.IsZero() && took >= time.Second {
		text += " (" + ui.Age(took) + ")"
	}
	r.begun = time.Time{}
	r.line(tone, sign, text)
}

func (r *Reporter) stop() {
	if r.waiting != nil {
		r.waiting.Done()
		r.waiting = nil
	}
}

func (r *Reporter) line(tone ui.Tone, sign, text string) {
	_, _ = fmt.Fprintln(r.streams.Err, r.streams.Paint(tone, sign), text)
}
