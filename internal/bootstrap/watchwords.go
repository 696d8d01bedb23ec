package bootstrap

import (
	"fmt"
	"strings"
	"time"
)

// String is one line for a log.
func (w *Waves) String() string {
	if len(w.Applications) == 0 {
		return "no Application is there yet"
	}
	text := fmt.Sprintf("wave %d: %d of %d Applications are Synced and Healthy", w.Wave, w.Settled, len(w.Applications))
	var waiting []string
	const most = 3
	for i := range w.Applications {
		app := &w.Applications[i]
		if app.Wave != w.Wave || !app.Absent && app.AtRest() {
			continue
		}
		if len(waiting) == most {
			waiting = append(waiting, "…")
			break
		}
		waiting = append(waiting, app.Name+" "+app.State())
	}
	if len(waiting) > 0 {
		text += "; " + strings.Join(waiting, ", ")
	}
	if len(w.Blockers) > 0 {
		text += "; " + w.Blockers[0].Application + ": " + w.Blockers[0].What
	}
	return text
}

// RestoringText says how far the platform's own restores of claims are, empty when no claim has a backup label.
func (w *Waves) RestoringText() string {
	var restoring, restored, fresh int
	for _, claim := range w.Claims {
		switch {
		case claim.Source == "":
			fresh++
		case claim.Phase == "Bound":
			restored++
		default:
			restoring++
		}
	}
	var parts []string
	add := func(n int, what string) {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, what))
		}
	}
	add(restored, "restored from a backup")
	add(restoring, "being restored")
	add(fresh, "new and empty")
	if len(parts) == 0 {
		return ""
	}
	return strings.Join(parts, ", ")
}

// Left is how long it may still take, for people; empty when nothing can be told.
func (w *Waves) Left() string {
	if w.Remaining <= 0 {
		return ""
	}
	return "about " + w.Remaining.Round(time.Second).String() + " left"
}
