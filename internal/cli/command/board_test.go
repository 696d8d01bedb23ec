package command

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/ui"
)

// board gives one whose clock stands until it is moved.
func board(t *testing.T, streams ui.Streams, total int) (*Board, *bytes.Buffer, *time.Time) {
	t.Helper()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	var out bytes.Buffer
	streams.Err = &out
	b := &Board{streams: streams, moving: ui.NewMoving(streams), now: func() time.Time { return now }, total: total, begun: now, stop: make(chan struct{})}
	return b, &out, &now
}

func begin(b *Board, n int) {
	for i := range n {
		plan := fmt.Sprint("p", i+1)
		b.Began(plan, "notes/data-"+plan)
		b.Event(operation.Event{Kind: operation.StepStarted, Plan: plan, Index: 2, Total: 18, Step: operation.Step{Title: "wait for the mover"}})
	}
}

func TestBoardInALog(t *testing.T) {
	b, out, now := board(t, ui.Streams{}, 2)
	begin(b, 2)
	*now = now.Add(41 * time.Second)
	b.Ended("p2", "notes/data-p2", nil)
	b.Event(operation.Event{Kind: operation.StepProgress, Plan: "p1", Text: "it is Pending"})
	b.sign()
	b.Ended("p1", "notes/data-p1", errors.New("it failed"))
	b.Close()
	require.Equal(t, `✓ [1/2] notes/data-p2 (41s)
· 1 of 2 done, 1 under way, 41s; the oldest: notes/data-p1, wait for the mover · it is Pending
✗ [2/2] notes/data-p1 (41s): it failed
`, out.String())
}

// TestBoardMoves: the moving lines are below those that stay, each fits its line, and none is left in the end.
func TestBoardMoves(t *testing.T) {
	b, out, now := board(t, ui.Streams{Interactive: true, ErrWidth: 53}, 20)
	begin(b, 14)
	*now = now.Add(5 * time.Second)
	b.draw("")
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	require.Len(t, lines, boardRows+1)
	require.Equal(t, "⠋ notes/data-p1    [2/18]    5s  wait for the mover\x1b[K", lines[0])
	require.Equal(t, "  0 of 20 done, 14 under way (2 not shown), 5s\x1b[K", lines[boardRows])

	out.Reset()
	b.Event(operation.Event{Kind: operation.StepRetry, Plan: "p1", Err: errors.New("the server answers 429")})
	b.Ended("p2", "notes/data-p2", nil)
	lines = strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	require.Equal(t, "\x1b[13A✓ [1/20] notes/data-p2 (5s)\x1b[K", lines[0])
	for _, line := range lines[1:] {
		require.LessOrEqual(t, len([]rune(strings.TrimSuffix(line, "\x1b[K"))), 52, line)
	}
	require.Equal(t, "⠙ notes/data-p1    [2/18]    5s  wait for the mover…\x1b[K", lines[1])

	out.Reset()
	b.Close()
	require.Equal(t, "\x1b[13A\x1b[J", out.String())
}
