package operation

import "time"

// record is what the entries of a journal amount to.
type record struct {
	entries []Entry
	facts   map[string]string
	steps   map[string]stepRecord
	// aborting, aborted and finished are when that began or happened; zero when it did not.
	aborting, aborted, finished time.Time
}

// stepRecord is the state of one step. A step that was found done is done without being started.
type stepRecord struct {
	started, done, undoing, undone bool
	// startTime and endTime are those of the latest try.
	startTime, endTime time.Time
	// failure is why the latest run stopped here; empty when it did not.
	failure string
}

// replay adds up the entries.
func replay(entries []Entry) *record {
	r := &record{facts: map[string]string{}, steps: map[string]stepRecord{}}
	for _, entry := range entries {
		r.add(entry)
	}
	return r
}

func (r *record) add(entry Entry) {
	r.entries = append(r.entries, entry)
	for key, value := range entry.Facts {
		r.facts[key] = value
	}
	step := r.steps[entry.Step]
	switch entry.Event {
	case EntryStarted:
		step = stepRecord{started: true, startTime: entry.Time}
	case EntryDone:
		step.done, step.failure, step.endTime = true, "", entry.Time
	case EntryFailed:
		step.failure, step.endTime = entry.Error, entry.Time
	case EntryUndoStarted:
		step.undoing, step.failure = true, ""
	case EntryUndone:
		step.undone, step.failure, step.endTime = true, "", entry.Time
	case EntryAborting:
		r.aborting = entry.Time
	case EntryAborted:
		r.aborted = entry.Time
	case EntryFinished:
		r.finished = entry.Time
	}
	if entry.Step != "" {
		r.steps[entry.Step] = step
	}
}

// ended holds for a plan in which nothing is left to do.
func (r *record) ended() bool { return !r.finished.IsZero() || !r.aborted.IsZero() }

// proven holds when every step of the plan is done.
func (r *record) proven(plan Plan) bool {
	for _, step := range plan.Steps {
		if !r.steps[step.ID].done {
			return false
		}
	}
	return true
}

// pastReturn is the first point of no return that was started, if any.
func (r *record) pastReturn(plan Plan) (Step, bool) {
	for _, step := range plan.Steps {
		if step.PointOfNoReturn && r.steps[step.ID].started {
			return step, true
		}
	}
	return Step{}, false
}
