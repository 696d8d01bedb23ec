package barman

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/drctl/drctl/internal/recovery"
)

// maxHistoryBytes bounds a .history file, compressed or not: it has about 60 bytes a timeline.
const maxHistoryBytes = 1 << 20

// Fork says that a timeline began where another one, its parent, was left.
type Fork struct {
	Parent uint32
	At     LSN
}

// ParseHistory reads a timeline's .history file: its ancestors, oldest first, each with the position
// where it was left. The last one is the timeline's parent.
// Source: PostgreSQL timeline.c, readTimeLineHistory.
func ParseHistory(body []byte) ([]Fork, error) {
	forks, err := parseHistory(body)
	if err != nil {
		return nil, &recovery.Problem{
			What: "read a timeline's .history file", Why: err.Error(),
			Next: "restore the file from the server's pg_wal folder, or from another copy of the archive", Err: errors.Join(recovery.ErrDamaged, err),
		}
	}
	return forks, nil
}

func parseHistory(body []byte) ([]Fork, error) {
	if len(body) > maxHistoryBytes {
		return nil, errors.New("it is larger than any .history file is")
	}
	if !utf8.Valid(body) || bytes.IndexByte(body, 0) >= 0 {
		return nil, errors.New("it is not text")
	}
	var forks []Fork
	number := 0
	for line := range strings.Lines(string(body)) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fork, ok := parseFork(line)
		if !ok {
			return nil, fmt.Errorf("line %d is not TIMELINE, POSITION, REASON", number)
		}
		// Positions need not ascend: a recovery to a time before its parent's own fork writes them so.
		if len(forks) > 0 && fork.Parent <= forks[len(forks)-1].Parent {
			return nil, fmt.Errorf("line %d does not come after the line before it", number)
		}
		forks = append(forks, fork)
	}
	if len(forks) == 0 {
		return nil, errors.New("it names no timeline")
	}
	return forks, nil
}

func parseFork(line string) (fork Fork, ok bool) {
	fields := strings.Fields(line)
	if len(fields) < 2 {
		return Fork{}, false
	}
	parent, err := strconv.ParseUint(fields[0], 10, 32)
	if err != nil || parent == 0 {
		return Fork{}, false
	}
	at, err := ParseLSN(fields[1])
	return Fork{Parent: uint32(parent), At: at}, err == nil
}
