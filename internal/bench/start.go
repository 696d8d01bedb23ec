package bench

import (
	"context"
	"fmt"
	"os/exec"
)

// startRounds is how often each program is started; the start is short, so many.
const startRounds = 25

// StartWorks measures how long the program takes to start.
func StartWorks() []Work {
	return []Work{{Name: "start", Run: runStart}}
}

// runStart compares `drctl version` with `kubectl version --client`, where kubectl is installed.
func runStart(ctx context.Context, env Env) ([]Row, error) {
	kubectl, err := exec.LookPath("kubectl")
	if err != nil {
		return nil, fmt.Errorf("the anchor of the start time is kubectl: %w", err)
	}
	ours, theirs := program(env.Drctl, "version"), program(kubectl, "version", "--client")
	if err := interleave(ctx, 1, 0, ours, theirs); err != nil { // fills the page cache
		return nil, err
	}
	ours.times, theirs.times = nil, nil
	if err := interleave(ctx, startRounds, 0, ours, theirs); err != nil {
		return nil, err
	}
	return []Row{{
		Work: "start: drctl version", Anchor: "kubectl version --client", Ours: ours.median(), Theirs: theirs.median(),
		OursCount: -1, TheirsCount: -1, GoalRatio: 2, Rounds: startRounds,
	}}, nil
}

// program is a side that only starts and ends.
func program(path string, args ...string) *side {
	return &side{run: func(ctx context.Context) (int, error) { return 0, exec.CommandContext(ctx, path, args...).Run() }}
}
