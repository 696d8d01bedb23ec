package main

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
	"github.com/drctl/drctl/internal/ui"
)

// TestReport: whatever has something to say about what to do next says it, unproven restores above all.
func TestReport(t *testing.T) {
	unproven := &recovery.Problem{What: "pvc-restore notes/data", Why: "the mover restored nothing", Next: "compare the identities", Err: recovery.ErrPartial}
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"none":       {nil, ""},
		"gaps":       {recovery.ErrPartial, "Incomplete: what could be read is shown above, the warnings name the rest (exit code 3).\n"},
		"unproven":   {unproven, "Error: pvc-restore notes/data\n  why:  the mover restored nothing\n  next: compare the identities\n"},
		"unfinished": {errors.Join(operation.ErrUnfinished, context.Canceled), "Error: " + operation.ErrUnfinished.Error() + "\n" + context.Canceled.Error() + "\n"},
		"cancelled":  {context.Canceled, "Cancelled; nothing was changed.\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			report(ui.Streams{Err: &out}, c.err)
			require.Equal(t, c.want, out.String())
		})
	}
}
