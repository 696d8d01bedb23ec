package volsync

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/recovery"
)

func TestInterval(t *testing.T) {
	november := time.Date(2026, 11, 23, 2, 30, 0, 0, time.UTC) // a Monday
	tests := map[string]struct {
		schedule string
		now      time.Time
		want     time.Duration
	}{
		"hourly of the platform":      {"0 * * * *", november, time.Hour},
		"daily of the platform":       {"0 2 * * *", november, 24 * time.Hour},
		"@hourly":                     {"@hourly", november, time.Hour},
		"@daily":                      {"@daily", november, 24 * time.Hour},
		"@weekly":                     {"@weekly", november, 7 * 24 * time.Hour},
		"@monthly":                    {"@monthly", november, 31 * 24 * time.Hour},
		"@yearly near a leap year":    {"@yearly", time.Date(2028, 5, 1, 0, 0, 0, 0, time.UTC), 366 * 24 * time.Hour},
		"@annually":                   {"@annually", november, 365 * 24 * time.Hour},
		"every minute":                {"* * * * *", november, time.Minute},
		"question marks":              {"? ? ? ? ?", november, time.Minute},
		"every 7 minutes, uneven":     {"*/7 * * * *", november, 7 * time.Minute},
		"every 40 minutes, uneven":    {"*/40 * * * *", november, 40 * time.Minute},
		"from a minute on":            {"50/5 * * * *", november, 55 * time.Minute},
		"every 6 hours":               {"15 */6 * * *", november, 6 * time.Hour},
		"office hours":                {"0 8-17 * * *", november, 15 * time.Hour},
		"twice a day":                 {"30 1,13 * * *", november, 12 * time.Hour},
		"two lists":                   {"0,30 1-2,22 * * *", november, 19*time.Hour + 30*time.Minute},
		"working days":                {"0 2 * * 1-5", november, 3 * 24 * time.Hour},
		"one weekday":                 {"0 2 * * 0", november, 7 * 24 * time.Hour},
		"the 31st":                    {"0 0 31 * *", november, 61 * 24 * time.Hour},
		"the 1st or a Sunday":         {"0 0 1 * 0", november, 7 * 24 * time.Hour},
		"a stepped star restricts":    {"0 0 */16 * 3", november, 7 * 24 * time.Hour},
		"a stepped 1 does not":        {"0 0 */1 * 3", november, 7 * 24 * time.Hour},
		"29 February":                 {"0 0 29 2 *", november, 1461 * 24 * time.Hour},
		"with a time zone":            {"CRON_TZ=Europe/Berlin 0 2 * * *", november, 24 * time.Hour},
		"with white space around":     {"  0  2 * * *\t", november, 24 * time.Hour},
		"now far from UTC":            {"0 2 * * *", november.In(time.FixedZone("", 14*3600)), 24 * time.Hour},
		"one month of the year":       {"0 2 * 12 *", november, 335 * 24 * time.Hour},
		"a step beyond what there is": {"0/9223372036854775807 * * * *", november, time.Hour},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := Interval(test.schedule, test.now)
			require.NoError(t, err)
			require.Equal(t, test.want, got)
		})
	}
}

func TestIntervalOfNoSchedule(t *testing.T) {
	schedules := []string{
		"", "0 2 * *", "0 0 2 * * *", "@reboot", "TZ=Europe/Paris", "TZ=Nowhere/Land 0 2 * * *", "60 * * * *", "* 24 * * *", "* * 0 * *",
		"* * * 13 *", "* * * * 7", "5-1 * * * *", "*/0 * * * *", "*/x * * * *", "x * * * *", "1-x * * * *", "-1 * * * *", "0 0 30 2 *",
	}
	for _, schedule := range schedules {
		t.Run(schedule, func(t *testing.T) {
			_, err := Interval(schedule, time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC))
			require.ErrorIs(t, err, recovery.ErrUsage)
			require.ErrorContains(t, err, "five fields")
		})
	}
}

func FuzzInterval(f *testing.F) {
	for _, seed := range []string{"0 * * * *", "@monthly", "*/7 1-5,9 */2 2 1/2", "TZ=x 59 23 31 12 6", "0 0 30 2 *"} {
		f.Add(seed, int64(1795400000))
	}
	f.Fuzz(func(t *testing.T, schedule string, unix int64) {
		now := time.Unix(unix%253402300799, 0)
		interval, err := Interval(schedule, now)
		if err != nil {
			require.ErrorIs(t, err, recovery.ErrUsage)
			return
		}
		require.Positive(t, interval)
		require.LessOrEqual(t, interval, 9*366*24*time.Hour)
	})
}
