package volsync

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/drctl/drctl/internal/recovery"
)

const (
	// near is how far around now the firings of a schedule are looked at: a week and a day hold every
	// weekday, and the pause over a weekend.
	near = 8 * 24 * time.Hour
	// mostFirings bounds the walk: as many as an every-minute schedule has within near, on both sides.
	mostFirings = 2 * 8 * 24 * 60
)

// Interval is the largest distance between two consecutive firings of a cron schedule near now: three
// days for "0 2 * * 1-5". The line is read as VolSync reads it: five fields, or @daily and the like,
// with TZ= or CRON_TZ= ahead. Anything else, and a schedule that never fires, is recovery.ErrUsage.
// Source: robfig/cron/v3 ParseStandard, which VolSync calls.
func Interval(line string, now time.Time) (time.Duration, error) {
	interval, err := interval(line, now.UTC())
	if err != nil {
		return 0, &recovery.Problem{
			What: fmt.Sprintf("read the schedule %q", line),
			Why:  err.Error(),
			Next: `correct spec.trigger.schedule of the ReplicationSource: five fields such as "0 2 * * *"`,
			Err:  recovery.ErrUsage,
		}
	}
	return interval, nil
}

// interval walks the firings from near before now until near behind it, and at least two of them.
func interval(line string, now time.Time) (time.Duration, error) {
	if strings.Contains(line, "TZ=") && !strings.Contains(line, " ") {
		return 0, errors.New("it names a time zone only") // ParseStandard panics on it
	}
	schedule, err := cron.ParseStandard(line)
	if err != nil {
		return 0, err
	}
	var largest time.Duration
	last := schedule.Next(now.Add(-near))
	if last.After(now) {
		// A sparse schedule: the pause that holds now began long ago.
		last = schedule.Next(now.AddDate(-1, 0, 0).Add(-near))
	}
	for range mostFirings {
		next := schedule.Next(last)
		if last.IsZero() || next.IsZero() {
			return 0, errors.New("it never fires")
		}
		largest = max(largest, next.Sub(last))
		if last = next; last.After(now.Add(near)) {
			break
		}
	}
	return largest, nil
}
