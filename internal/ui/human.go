package ui

import (
	"fmt"
	"time"

	"github.com/dustin/go-humanize"
)

// Size renders bytes for people: 1.2 GiB.
func Size(bytes int64) string {
	if bytes < 0 {
		return "-"
	}
	return humanize.IBytes(uint64(bytes))
}

// Count renders a number with thousands set apart: 12,345.
func Count(n int) string { return humanize.Comma(int64(n)) }

// Age renders a duration as kubectl does, two units at the most: 45s, 12m, 3h20m, 2d4h, 41d.
func Age(d time.Duration) string {
	if d < 0 {
		return "in " + Age(-d)
	}
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d/time.Second))
	case d < 3*time.Hour:
		return fmt.Sprintf("%dm", int(d/time.Minute))
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d/time.Hour), int(d%time.Hour/time.Minute))
	case d < 10*24*time.Hour:
		return fmt.Sprintf("%dd%dh", int(d/(24*time.Hour)), int(d%(24*time.Hour)/time.Hour))
	}
	return fmt.Sprintf("%dd", int(d/(24*time.Hour)))
}

// Minute renders a moment in UTC for a table, to the minute; "-" for none.
func Minute(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04Z")
}

// Time renders a moment in UTC, to the second; "-" for none.
func Time(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02T15:04:05Z")
}
