package volsync

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/drctl/drctl/internal/recovery"
)

const (
	day = 24 * time.Hour
	// nearDays is how far around now the days of a schedule are looked at: a week holds every weekday.
	nearDays = 7
	// horizonDays is where the search for a firing ends: 29 February can be eight years away.
	horizonDays = 9 * 366
)

// schedule holds, for each field of a cron line, the set of its values as bits.
type schedule struct {
	minutes, hours, monthDays, months, weekDays uint64
	// eitherDay: day of month and day of week are both restricted, and one of them suffices.
	eitherDay bool
}

// Interval is the largest distance between two consecutive firings of a cron schedule near now, in
// UTC: three days for "0 2 * * 1-5". Five fields are read as VolSync reads them, and @hourly, @daily,
// @weekly, @monthly, @yearly and @annually; a leading TZ= or CRON_TZ= is passed over. Anything else,
// and a schedule that never fires, is an error of kind recovery.ErrUsage.
// Source: robfig/cron/v3 ParseStandard, the pattern in VolSync's CRD.
func Interval(line string, now time.Time) (time.Duration, error) {
	parsed, err := parseSchedule(line)
	if err == nil {
		var interval time.Duration
		if interval, err = parsed.interval(now); err == nil {
			return interval, nil
		}
	}
	return 0, &recovery.Problem{
		What: fmt.Sprintf("read the schedule %q", line),
		Why:  err.Error(),
		Next: `correct spec.trigger.schedule of the ReplicationSource: five fields such as "0 2 * * *"`,
		Err:  recovery.ErrUsage,
	}
}

// interval is the larger of the largest distance within a day and the largest one over midnight.
func (s schedule) interval(now time.Time) (time.Duration, error) {
	var times []time.Duration
	for hour := range 24 {
		for minute := range 60 {
			if has(s.hours, hour) && has(s.minutes, minute) {
				times = append(times, time.Duration(hour)*time.Hour+time.Duration(minute)*time.Minute)
			}
		}
	}
	var largest time.Duration
	for i := 1; i < len(times); i++ {
		largest = max(largest, times[i]-times[i-1])
	}
	days := s.daysNear(now)
	if len(times) == 0 || len(days) < 2 {
		return 0, fmt.Errorf("it never fires")
	}
	first, last := times[0], times[len(times)-1]
	for i := 1; i < len(days); i++ {
		largest = max(largest, days[i].Sub(days[i-1])-last+first)
	}
	return largest, nil
}

// daysNear gives the days on which the schedule fires, in order: those within a week of now, and as many
// more as make two of them before tomorrow and two after today.
func (s schedule) daysNear(now time.Time) []time.Time {
	today := now.UTC().Truncate(day)
	var past, future []time.Time
	for i := 0; i <= nearDays || len(past) < 2 && i < horizonDays; i++ {
		if d := today.AddDate(0, 0, -i); s.firesOn(d) {
			past = append([]time.Time{d}, past...)
		}
	}
	for i := 1; i <= nearDays || len(future) < 2 && i < horizonDays; i++ {
		if d := today.AddDate(0, 0, i); s.firesOn(d) {
			future = append(future, d)
		}
	}
	return append(past, future...)
}

func (s schedule) firesOn(d time.Time) bool {
	monthDay, weekDay := has(s.monthDays, d.Day()), has(s.weekDays, int(d.Weekday()))
	if !has(s.months, int(d.Month())) {
		return false
	}
	if s.eitherDay {
		return monthDay || weekDay
	}
	return monthDay && weekDay
}

func has(set uint64, value int) bool { return set&(1<<value) != 0 }

func parseSchedule(line string) (schedule, error) {
	line = strings.TrimSpace(line)
	if strings.HasPrefix(line, "TZ=") || strings.HasPrefix(line, "CRON_TZ=") {
		_, line, _ = strings.Cut(line, " ")
	}
	switch line {
	case "@yearly", "@annually":
		line = "0 0 1 1 *"
	case "@monthly":
		line = "0 0 1 * *"
	case "@weekly":
		line = "0 0 * * 0"
	case "@daily":
		line = "0 0 * * *"
	case "@hourly":
		line = "0 * * * *"
	}
	fields := strings.Fields(line)
	if len(fields) != 5 {
		return schedule{}, fmt.Errorf("it has %d fields instead of five", len(fields))
	}
	var sets [5]uint64
	var restricted [5]bool
	ranges := [5]struct{ low, high int }{{0, 59}, {0, 23}, {1, 31}, {1, 12}, {0, 6}}
	for i, field := range fields {
		var err error
		if sets[i], restricted[i], err = parseField(field, ranges[i].low, ranges[i].high); err != nil {
			return schedule{}, err
		}
	}
	return schedule{
		minutes: sets[0], hours: sets[1], monthDays: sets[2], months: sets[3], weekDays: sets[4],
		eitherDay: restricted[2] && restricted[4],
	}, nil
}

// parseField reads a comma-separated list of *, N, N-M, each with an optional /STEP. The field is
// restricted unless one of its parts is a bare star.
func parseField(field string, low, high int) (set uint64, restricted bool, err error) {
	restricted = true
	for part := range strings.SplitSeq(field, ",") {
		span, stepText, hasStep := strings.Cut(part, "/")
		from, to, step := low, high, 1
		if hasStep {
			if step, err = strconv.Atoi(stepText); err != nil || step < 1 {
				return 0, false, fmt.Errorf("%q has no step", part)
			}
			step = min(step, high+1) // so that adding it can't overflow
		}
		if span == "*" || span == "?" {
			restricted = restricted && step > 1
		} else if from, to, err = parseSpan(span, high, hasStep); err != nil {
			return 0, false, err
		}
		if from < low || to > high || from > to {
			return 0, false, fmt.Errorf("%q is not within %d-%d", part, low, high)
		}
		for value := from; value <= to; value += step {
			set |= 1 << value
		}
	}
	return set, restricted, nil
}

// parseSpan reads N or N-M; N/STEP means N-high/STEP.
func parseSpan(span string, high int, openEnded bool) (from, to int, err error) {
	fromText, toText, isRange := strings.Cut(span, "-")
	if from, err = strconv.Atoi(fromText); err != nil {
		return 0, 0, fmt.Errorf("%q is no number", fromText)
	}
	switch {
	case isRange:
		if to, err = strconv.Atoi(toText); err != nil {
			return 0, 0, fmt.Errorf("%q is no number", toText)
		}
	case openEnded:
		to = high
	default:
		to = from
	}
	return from, to, nil
}
