package barman

import (
	"context"
	"fmt"
	"strings"

	"github.com/drctl/drctl/internal/recovery"
)

// ReadFork reads the .history file of a timeline in a server's archive (the one of o.Servers: the NEW
// server of a recovery): where the timeline began, and PostgreSQL's words for why it ended there. One
// that is not archived yet is ErrNotFound.
func ReadFork(ctx context.Context, store Store, o Options, timeline uint32) (Fork, string, error) {
	server, err := o.oneServer()
	if err != nil {
		return Fork{}, "", err
	}
	d := newDestination(store, o)
	object, err := d.findWAL(ctx, server, historyName(timeline))
	if err != nil {
		return Fork{}, "", err
	}
	plain, err := d.readPlainHistory(ctx, object.Key)
	if err != nil {
		return Fork{}, "", err
	}
	fork, reason, err := LastFork(plain)
	return fork, reason, d.named(object.Key, err)
}

// LastFork gives the last line of a .history file: where the timeline itself began, and why. It is
// what pg_read_file gives of pg_wal/<timeline>.history, too.
// Source: PostgreSQL timeline.c, writeTimeLineHistory; xlogrecovery.c, getRecoveryStopReason.
func LastFork(history []byte) (Fork, string, error) {
	forks, err := ParseHistory(history)
	if err != nil {
		return Fork{}, "", err
	}
	reason := ""
	for line := range strings.Lines(string(history)) {
		line = strings.TrimSpace(line)
		if _, ok := parseFork(line); ok {
			_, rest, _ := strings.Cut(line, "\t")
			_, reason, _ = strings.Cut(rest, "\t")
		}
	}
	return forks[len(forks)-1], strings.TrimSpace(reason), nil
}

func (d *destination) readPlainHistory(ctx context.Context, key string) ([]byte, error) {
	body, err := d.get(ctx, key, maxHistoryBytes)
	if err != nil {
		return nil, err
	}
	plain, err := decompress(body, maxHistoryBytes)
	if err != nil {
		return nil, &recovery.Problem{
			What: fmt.Sprintf("read s3://%s/%s", d.bucket, key), Why: err.Error(),
			Next: "WAL gaps where that timeline begins cannot be seen; look at the file by hand", Err: err,
		}
	}
	return plain, nil
}
