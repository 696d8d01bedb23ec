package disturb

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// UnfinishedPlans are the IDs of the plans below a home folder whose journals have no end: neither finished nor
// aborted. What was taken back is begun anew, and not resumed.
func UnfinishedPlans(home string) ([]string, error) {
	dir := filepath.Join(home, ".local", "state", "drctl", "plans")
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("disturb: plans: %w", err)
	}
	var ids []string
	for _, entry := range entries {
		if _, err := os.Stat(filepath.Join(dir, entry.Name(), "plan.json")); err != nil {
			continue
		}
		journal, err := os.ReadFile(filepath.Join(dir, entry.Name(), "journal.jsonl"))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("disturb: journal of %s: %w", entry.Name(), err)
		}
		if !ended(journal) {
			ids = append(ids, entry.Name())
		}
	}
	return ids, nil
}

// ended looks at the last whole line of a journal.
func ended(journal []byte) bool {
	lines := bytes.Split(bytes.TrimSpace(journal), []byte("\n"))
	var last struct {
		Event string `json:"event"`
	}
	return json.Unmarshal(lines[len(lines)-1], &last) == nil && (last.Event == "finished" || last.Event == "aborted")
}
