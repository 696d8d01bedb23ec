package operation

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/drctl/drctl/internal/recovery"
)

// EntryEvent says what an Entry records.
type EntryEvent string

// The events of a journal. The last entry of a plan that is at its end is finished or aborted.
const (
	// EntryStarted precedes the effect: from here on it may have happened.
	EntryStarted EntryEvent = "started"
	EntryDone    EntryEvent = "done"
	// EntryFailed only remembers why a run stopped; it changes nothing.
	EntryFailed EntryEvent = "failed"
	EntryFact   EntryEvent = "fact"
	// EntryAborting: the way back was taken, there is no resume any more.
	EntryAborting    EntryEvent = "aborting"
	EntryUndoStarted EntryEvent = "undo-started"
	EntryUndone      EntryEvent = "undone"
	EntryAborted     EntryEvent = "aborted"
	EntryFinished    EntryEvent = "finished"
)

// mostErrorBytes keeps a long answer of a server out of the journal, whose copy has to be small.
const mostErrorBytes = 2000

// Entry is one line of a journal.
type Entry struct {
	Time  time.Time  `json:"time"`
	Step  string     `json:"step,omitempty"`
	Event EntryEvent `json:"event"`
	// Facts are what was learned, with EntryFact.
	Facts map[string]string `json:"facts,omitempty"`
	Error string            `json:"error,omitempty"`
}

// known holds for the events that this version understands.
func (e EntryEvent) known() bool {
	switch e {
	case EntryStarted, EntryDone, EntryFailed, EntryFact, EntryAborting, EntryUndoStarted, EntryUndone, EntryAborted, EntryFinished:
		return true
	}
	return false
}

// ParseJournal reads a journal.jsonl. A last line that a crash tore is left out; whole is the number of
// bytes that were read, where the next entry belongs. Any other line that is no entry is
// recovery.ErrDamaged: what it said may be that something has happened.
func ParseJournal(data []byte) (entries []Entry, whole int, err error) {
	entries = []Entry{}
	for number := 1; whole < len(data); number++ {
		length := bytes.IndexByte(data[whole:], '\n')
		if length < 0 {
			return entries, whole, nil
		}
		line := data[whole : whole+length]
		last := whole+length+1 == len(data)
		// A block that never reached the disk reads as zeros, with the rest of its line behind it.
		if last && bytes.IndexByte(line, 0) >= 0 {
			return entries, whole, nil
		}
		var entry Entry
		if err := json.Unmarshal(line, &entry); err != nil {
			return entries, whole, fmt.Errorf("line %d: %w: %w", number, recovery.ErrDamaged, err)
		}
		if !entry.Event.known() {
			return entries, whole, fmt.Errorf("line %d has the event %q: %w", number, entry.Event, recovery.ErrDamaged)
		}
		entries = append(entries, entry)
		whole += length + 1
	}
	return entries, whole, nil
}

// encode writes an entry as one line.
func encode(entry Entry) ([]byte, error) {
	entry.Time = entry.Time.UTC()
	if len(entry.Error) > mostErrorBytes {
		entry.Error = entry.Error[:mostErrorBytes] + "…"
	}
	line, err := json.Marshal(entry)
	if err != nil {
		return nil, err
	}
	return append(line, '\n'), nil
}

// withoutFailures cuts the entries off the end that only remember why a run stopped: they need not have
// reached the mirror.
func withoutFailures(raw []byte) []byte {
	for len(raw) > 0 {
		begin := bytes.LastIndexByte(raw[:len(raw)-1], '\n') + 1
		var entry Entry
		if err := json.Unmarshal(raw[begin:], &entry); err != nil || entry.Event != EntryFailed {
			return raw
		}
		raw = raw[:begin]
	}
	return raw
}
