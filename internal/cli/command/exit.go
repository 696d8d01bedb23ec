package command

import (
	"context"
	"errors"
	"strings"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
)

// The exit codes of the command-line contract.
const (
	ExitOK         = 0
	ExitFailed     = 1
	ExitUsage      = 2
	ExitPartial    = 3
	ExitUnfinished = 4
	ExitFindings   = 5
	ExitCancelled  = 130
)

// ExitCodes is the paragraph in every command's help.
const ExitCodes = `0 ok · 1 failed · 2 usage · 3 partial or unknown · 4 unfinished:
            resume or abort · 5 findings · 130 cancelled before any effect`

// ErrFindings ends a check that found something wrong (exit code 5).
var ErrFindings = errors.New("something is wrong")

// ExitCode maps what a command returned to the contract. A cancelled read has had no effect: 130; once
// a plan has begun it is unfinished, however it was stopped.
func ExitCode(err error) int {
	switch {
	case err == nil:
		return ExitOK
	case errors.Is(err, operation.ErrUnfinished):
		return ExitUnfinished
	case errors.Is(err, context.Canceled), errors.Is(err, recovery.ErrDeclined):
		return ExitCancelled
	case errors.Is(err, recovery.ErrPartial):
		return ExitPartial
	case errors.Is(err, ErrFindings):
		return ExitFindings
	case errors.Is(err, recovery.ErrUsage), strings.HasPrefix(err.Error(), "unknown command"):
		return ExitUsage
	}
	return ExitFailed
}

// Finish ends a listing: each gap becomes a warning, and gaps or an error decide how it ends. Call it
// after the answer was printed.
func (f *Factory) Finish(gaps recovery.Gaps, err error) error {
	for _, gap := range gaps {
		f.Streams.Warn("%s", gap.Error())
	}
	if err != nil {
		return err
	}
	if len(gaps) > 0 {
		return recovery.ErrPartial
	}
	return nil
}
