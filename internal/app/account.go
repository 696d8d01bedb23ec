package app

import (
	"fmt"
	"sync"
)

// account is what was asked, for -v: a slow answer is nearly always one place too many.
type account struct {
	mu      sync.Mutex
	entries []entry
}

type entry struct {
	place string
	// requests counts them; nil where they are not counted.
	requests func() int64
}

func (a *account) add(place string, requests func() int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.entries = append(a.entries, entry{place, requests})
}

// Account says which places were asked and with how many requests, one a line.
func (a *App) Account() []string {
	a.account.mu.Lock()
	defer a.account.mu.Unlock()
	lines := make([]string, 0, len(a.account.entries))
	for _, e := range a.account.entries {
		line := "asked " + e.place
		if e.requests != nil {
			line += fmt.Sprintf(": %d requests", e.requests())
		}
		lines = append(lines, line)
	}
	return lines
}
