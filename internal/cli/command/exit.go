package command

import (
	"context"
	"errors"
	"strings"

	"github.com/drctl/drctl/internal/recovery"
)

// The exit codes of the command-line contract.
const (
	ExitOK        = 0
	ExitFailed    = 1
	ExitUsage     = 2
	ExitPartial   = 3
	ExitCancelled = 130
)

// ExitCodes is the paragraph in every command's help.
const ExitCodes = `0 ok · 1 failed · 2 usage · 3 partial or unknown · 4 unfinished:
            resume or abort · 5 findings · 130 cancelled before any effect`

// ExitCode maps what a command returned to the contract. A cancelled read has had no effect: 130.
func ExitCode(err error) int {
	switch {
	case err == nil:
		return ExitOK
	case errors.Is(err, context.Canceled):
		return ExitCancelled
	case errors.Is(err, recovery.ErrPartial):
		return ExitPartial
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
