package bootstrapcmd

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/drctl/drctl/internal/bootstrap"
	"github.com/drctl/drctl/internal/cli/command"
	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/ui"
)

// wavesStep is the step that the table stands for.
const wavesStep = "watch-waves"

// view tells how a bootstrap goes: its steps line by line, and the waves on a terminal as a table that moves, elsewhere
// as a line for each Application that came to rest and for each thing that holds one back.
type view struct {
	streams  ui.Streams
	now      func() time.Time
	reporter *command.Reporter

	mu       sync.Mutex
	moving   *ui.Moving
	watching bool
	// quiet: what is at rest at the first look is no news.
	quiet   bool
	begun   time.Time
	settled map[string]bool
	looked  bool
	said    map[string]bool
	saidAt  time.Time
}

func newView(f *command.Factory) *view {
	return &view{
		streams: f.Streams, now: f.Now, reporter: command.NewReporter(f), moving: ui.NewMoving(f.Streams), settled: map[string]bool{}, said: map[string]bool{},
	}
}

// event is what the engine calls.
func (v *view) event(e operation.Event) {
	if e.Step.Kind != wavesStep || e.Kind == operation.StepFailed || e.Kind == operation.Note {
		v.clear()
		v.reporter.Event(e)
		return
	}
	switch e.Kind { //nolint:exhaustive // The table says the rest.
	case operation.StepStarted:
		v.begin()
	case operation.StepDone, operation.StepSkipped:
		v.clear()
	}
}

// begin is when the waves are watched from.
func (v *view) begin() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.watching, v.begun, v.saidAt = true, v.now(), v.now()
}

func (v *view) clear() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.watching {
		v.moving.Draw("", nil)
	}
}

func (v *view) close() {
	v.clear()
	v.reporter.Close()
}

// show is what each look at the waves is given to.
func (v *view) show(w *bootstrap.Waves) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.moving.Draw(v.news(w), v.table(w))
}

// news are lines that stay: each Application once it is at rest, and, where no table moves, what holds one back.
func (v *view) news(w *bootstrap.Waves) string {
	var b strings.Builder
	first := !v.looked
	v.looked = true
	for i := range w.Applications {
		app := &w.Applications[i]
		if rest := !app.Absent && app.AtRest(); rest && !v.settled[app.Name] {
			v.settled[app.Name] = true
			if first && v.quiet {
				continue // it was so before: the table at the end has it
			}
			fmt.Fprintf(&b, "%s wave %d  %s is Synced and Healthy (%s)\n", v.streams.Paint(ui.Good, "✓"), app.Wave, app.Name, ui.Age(v.now().Sub(v.begun).Round(time.Second)))
			v.saidAt = v.now()
		}
	}
	if v.streams.Interactive {
		return b.String()
	}
	for _, line := range blockerLines(v.streams, w, 0) {
		if !v.said[line] {
			v.said[line] = true
			b.WriteString(line + "\n")
			v.saidAt = v.now()
		}
	}
	const sign = time.Minute
	if v.now().Sub(v.saidAt) >= sign {
		v.saidAt = v.now()
		b.WriteString("· " + w.String() + "\n")
	}
	return b.String()
}

const (
	// mostRows are shown of the waves, and mostBlockers of what holds them back: more would scroll off a small terminal.
	mostRows     = 12
	mostBlockers = 4
)

// table are the lines that move: what is not at rest in the lowest wave, one line for each later wave, what holds it
// back, and how far it is.
func (v *view) table(w *bootstrap.Waves) []string {
	if !v.streams.Interactive {
		return nil
	}
	var lines []string
	add := func(tone ui.Tone, sign, text string) {
		const beside = 3
		lines = append(lines, v.streams.Paint(tone, sign)+" "+v.moving.Fit(text, beside))
	}
	widest := 0
	for i := range w.Applications {
		widest = max(widest, utf8.RuneCountInString(w.Applications[i].Name))
	}
	later := map[int][]string{}
	for i := range w.Applications {
		app := &w.Applications[i]
		switch {
		case !app.Absent && app.AtRest():
		case app.Wave > w.Wave:
			later[app.Wave] = append(later[app.Wave], app.Name)
		case len(lines) < mostRows:
			tone, sign := toneOf(app)
			add(tone, sign, fmt.Sprintf("wave %d  %-*s  %-9s %-11s %5s  %s", app.Wave, widest, app.Name, dash(app.Sync), dash(app.Health), ui.Age(w.At.Sub(app.Since).Round(time.Second)), shown(app)))
		}
	}
	for _, wave := range sortedKeys(later) {
		add(ui.Faint, "·", fmt.Sprintf("wave %d  %s", wave, strings.Join(later[wave], ", ")))
	}
	for i, line := range blockerLines(v.streams, w, 1) {
		if i == 2*mostBlockers {
			break
		}
		lines = append(lines, v.moving.Fit(line, 1))
	}
	return append(lines, v.streams.Paint(ui.Faint, v.moving.Fit("  "+v.footer(w), 1)))
}

func (v *view) footer(w *bootstrap.Waves) string {
	parts := []string{fmt.Sprintf("%d of %d Applications at rest", w.Settled, len(w.Applications)), ui.Age(v.now().Sub(v.begun).Round(time.Second))}
	if left := w.Left(); left != "" {
		parts = append(parts, left)
	}
	if claims := w.RestoringText(); claims != "" {
		parts = append(parts, "claims: "+claims)
	}
	if len(w.Empty) > 0 {
		parts = append(parts, fmt.Sprintf("%d databases came up EMPTY", len(w.Empty)))
	}
	return strings.Join(parts, " · ")
}

func sortedKeys(waves map[int][]string) []int {
	keys := make([]int, 0, len(waves))
	for key := range waves {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func toneOf(app *bootstrap.WaveApplication) (ui.Tone, string) {
	if app.GaveUp || app.Health == "Degraded" || app.Operation == "Failed" || app.Operation == "Error" {
		return ui.Bad, "✗"
	}
	return ui.Caution, "…"
}

func shown(app *bootstrap.WaveApplication) string {
	if app.Message != "" && app.State() != "syncing" {
		return strings.ReplaceAll(app.Message, "\n", " ")
	}
	return app.State()
}

func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// blockerLines are two lines for each thing that holds a wave back: what, and how to put it right.
func blockerLines(streams ui.Streams, w *bootstrap.Waves, indent int) []string {
	var lines []string
	margin := strings.Repeat(" ", indent)
	for _, blocker := range w.Blockers {
		lines = append(lines, margin+streams.Paint(ui.Bad, "✗")+" "+blocker.Application+": "+strings.ReplaceAll(blocker.What, "\n", " "), margin+"  → "+blocker.Fix)
	}
	return lines
}
