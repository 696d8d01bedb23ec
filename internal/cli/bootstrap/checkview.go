package bootstrapcmd

import (
	"fmt"
	"io"
	"strings"

	"github.com/drctl/drctl/internal/bootstrap"
	"github.com/drctl/drctl/internal/cli/command"
	"github.com/drctl/drctl/internal/recovery"
	"github.com/drctl/drctl/internal/ui"
)

// checkReport is the answer of --check. Source: the contract's DoctorReport.
type checkReport struct {
	APIVersion string           `json:"apiVersion"`
	Kind       string           `json:"kind"`
	Checks     []recovery.Check `json:"checks"`
}

// printChecks is --check: 5 when something failed, 3 when something could not be looked at.
func printChecks(f *command.Factory, format ui.Format, prepared *bootstrap.Prepared, accept []string) error {
	report := checkReport{recovery.APIVersion, "DoctorReport", prepared.Checks}
	names := make([]string, 0, len(report.Checks))
	for _, check := range report.Checks {
		names = append(names, check.Area+"/"+check.Name)
	}
	err := f.Streams.Print(format, ui.View{Data: report, Names: names, Table: func(w io.Writer, wide bool) error {
		_, _ = fmt.Fprintf(w, "Cluster %s%s\n", prepared.Identity.Server, inContext(prepared.Identity.Context))
		return writeChecks(w, f.Streams, f.Streams.Width, report.Checks, false)
	}})
	if err != nil {
		return err
	}
	for _, check := range report.Checks {
		if check.Result == recovery.CheckSkip {
			return recovery.ErrPartial
		}
	}
	if failed := prepared.Stopping(accept); len(failed) > 0 {
		return fmt.Errorf("%d checks failed: %w", len(failed), command.ErrFindings)
	}
	return nil
}

func inContext(context string) string {
	if context == "" {
		return ""
	}
	return " (context " + context + ")"
}

// writeChecks writes one line for each check, and below it how to put it right. With onlyOdd the good ones are counted
// in one line.
func writeChecks(w io.Writer, streams ui.Streams, columns int, checks []recovery.Check, onlyOdd bool) error {
	var b strings.Builder
	good := 0
	widest := 0
	for _, check := range checks {
		if !onlyOdd || check.Result != recovery.CheckOK {
			widest = max(widest, len(check.Area)+1+len(check.Name))
		}
	}
	const most = 34
	widest = min(widest, most)
	for _, check := range checks {
		if check.Result == recovery.CheckOK {
			good++
			if onlyOdd {
				continue
			}
		}
		sign, tone := signOf(check.Result)
		name := check.Area + "/" + check.Name
		indent := 2 + widest + 2
		if len(name) > widest {
			name += "\n" + strings.Repeat(" ", indent-2)
		}
		fmt.Fprintf(&b, "%s %-*s  %s\n", streams.Paint(tone, sign), widest, name, ui.Fold(check.Why, indent, columns))
		if check.Fix != "" && check.Result != recovery.CheckOK {
			const arrow = "→ "
			fmt.Fprintf(&b, "%s%s%s\n", strings.Repeat(" ", indent), arrow, ui.Fold(check.Fix, indent+2, columns))
		}
	}
	if onlyOdd && good > 0 {
		fmt.Fprintf(&b, "%s %d of %d checks are fine\n", streams.Paint(ui.Good, "✓"), good, len(checks))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func signOf(result recovery.CheckResult) (string, ui.Tone) {
	switch result {
	case recovery.CheckOK:
		return "✓", ui.Good
	case recovery.CheckWarn:
		return "!", ui.Caution
	case recovery.CheckFail:
		return "✗", ui.Bad
	case recovery.CheckSkip:
		return "?", ui.Caution
	}
	return "?", ui.Caution
}
