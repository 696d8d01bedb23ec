package cloudnativepg

import (
	"fmt"
	"strings"

	apiv1 "github.com/cloudnative-pg/cloudnative-pg/api/v1"
)

// scheduleWarnings says what is wrong with the ScheduledBackups of one Cluster that has backups.
func scheduleWarnings(schedules []apiv1.ScheduledBackup) []string {
	if len(schedules) == 0 {
		return []string{"no ScheduledBackup names this Cluster: base backups are taken by hand only"}
	}
	var warnings []string
	for _, schedule := range schedules {
		if schedule.IsSuspended() {
			warnings = append(warnings, fmt.Sprintf("ScheduledBackup %s is suspended", schedule.Name))
		}
		if text := cronWarning(schedule.Spec.Schedule); text != "" {
			warnings = append(warnings, fmt.Sprintf("ScheduledBackup %s: %s", schedule.Name, text))
		}
	}
	return warnings
}

// cronWarning explains a cron line of five fields. CloudNativePG parses with seconds first and the
// weekday optional, so five fields are accepted and mean something else: "0 2 * * *" is second 0 of minute
// 2 of every hour. Source: CNPG scheduledbackup_controller.go, robfig/cron v1 Parse.
func cronWarning(line string) string {
	fields := strings.Fields(line)
	if len(fields) != 5 {
		return ""
	}
	effect := "it does not run when it seems to"
	if fields[2] == "*" && fields[3] == "*" && fields[4] == "*" && isMinute(fields[1]) {
		effect = fmt.Sprintf("it runs every hour at :%02s", fields[1])
	}
	return fmt.Sprintf("schedule %q has five fields, and CloudNativePG reads the first as seconds: %s; write %q", line, effect, "0 "+strings.Join(fields, " "))
}

// isMinute reports whether the field is one plain number.
func isMinute(field string) bool {
	return len(field) <= 2 && strings.Trim(field, "0123456789") == ""
}
