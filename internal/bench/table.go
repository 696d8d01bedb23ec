package bench

import (
	"fmt"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
)

// Ratio is how many times faster ours is.
func (r Row) Ratio() float64 {
	if r.Ours <= 0 {
		return 0
	}
	return float64(r.Theirs) / float64(r.Ours)
}

// Met reports whether every goal of the row is reached.
func (r Row) Met() bool {
	return (r.GoalRatio == 0 || r.Ratio() >= r.GoalRatio) && (r.GoalCount == 0 || (r.OursCount >= 0 && r.OursCount <= r.GoalCount))
}

// Table renders rows for people.
func Table(rows []Row) string {
	writer := table.NewWriter()
	writer.SetStyle(table.StyleLight)
	writer.AppendHeader(table.Row{"work", "anchor", "ours", "anchor's", "ratio", "ours count", "anchor's", "goal", "met"})
	for _, r := range rows {
		met := "yes"
		if !r.Met() {
			met = "NO"
		}
		writer.AppendRow(table.Row{
			r.Work, r.Anchor, duration(r.Ours), duration(r.Theirs), fmt.Sprintf("%.1f×", r.Ratio()),
			count(r.OursCount, r.CountUnit), count(r.TheirsCount, r.CountUnit), r.goal(), met,
		})
	}
	return writer.Render()
}

func (r Row) goal() string {
	var goals []string
	if r.GoalRatio > 0 {
		goals = append(goals, fmt.Sprintf("≥ %g×", r.GoalRatio))
	}
	if r.GoalCount > 0 {
		goals = append(goals, fmt.Sprintf("≤ %d", r.GoalCount))
	}
	return strings.Join(goals, ", ")
}

func duration(d time.Duration) string {
	if d < time.Second {
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(10 * time.Millisecond).String()
}

func count(n int64, unit string) string {
	if n < 0 {
		return "-"
	}
	return fmt.Sprintf("%d %s", n, unit)
}
