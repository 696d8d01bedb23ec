// Package bench measures drctl against the tools that an operator would use instead. Each work runs
// both sides interleaved in one process and compares medians: only ratios count on a noisy machine.
// Counts of requests beside them have no noise.
package bench

import (
	"context"
	"time"
)

// Row is one comparison of the table.
type Row struct {
	// Work says what was done, with its size.
	Work string `json:"work"`
	// Anchor names the other tool with the flags that it was given.
	Anchor string `json:"anchor"`
	// Ours and Theirs are medians of wall time.
	Ours   time.Duration `json:"oursNanoseconds"`
	Theirs time.Duration `json:"anchorNanoseconds"`
	// OursCount and TheirsCount are storage operations or requests; -1 when not counted.
	OursCount   int64 `json:"oursCount"`
	TheirsCount int64 `json:"anchorCount"`
	// CountUnit says what was counted, "S3 requests".
	CountUnit string `json:"countUnit"`
	// GoalRatio is the least Theirs/Ours that PERFORMANCE asks for; 0 when the goal is GoalCount.
	GoalRatio float64 `json:"goalRatio,omitempty"`
	// GoalCount is the most OursCount that is asked for; 0 when the goal is GoalRatio only.
	GoalCount int64 `json:"goalCount,omitempty"`
	// Rounds is how many times each side ran.
	Rounds int `json:"rounds"`
}

// Work is one benchmark: it sets up its input, runs both sides interleaved, and gives its rows.
type Work struct {
	// Name selects it on the command line and names its file bench/NAME.json.
	Name string
	Run  func(ctx context.Context, env Env) ([]Row, error)
}

// Env is what a work may use.
type Env struct {
	// Dir is an empty folder that is removed afterwards.
	Dir string
	// Drctl is the path of the drctl binary.
	Drctl string
	// Logf prints progress.
	Logf func(format string, args ...any)
}
