// Command record makes the recorded Barman catalogs in testdata/recordings: small, real backups of
// real PostgreSQL servers, taken by barman-cloud into MinIO. They stand in for Debian's PostgreSQL and
// Barman where those are not installed.
//
// Usage, inside the checkout, on a machine with the packages postgresql and barman-cli-cloud:
//
//	go run ./scripts/record
//
// It takes about five minutes and replaces both files. It must not import anything but the lab.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"

	"github.com/drctl/drctl/internal/lab"
)

// bucket and prefix are where the backups are made. The prefix does not get into the recording.
const (
	bucket = "postgres-backups"
	prefix = "cnpg/"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := record(ctx); err != nil {
		stop()
		log.Fatal(err)
	}
}

func record(ctx context.Context) (err error) {
	folder, err := os.MkdirTemp("", "drctl-record-")
	if err != nil {
		return err
	}
	stack := lab.NewStack(folder, log.Printf)
	defer func() { err = errors.Join(err, stack.Close(), os.RemoveAll(folder)) }()
	m, err := stack.MinIO(ctx)
	if err != nil {
		return err
	}
	if err := m.MakeBucket(ctx, bucket); err != nil {
		return err
	}
	r := &recorder{stack: stack, minio: m}
	for _, step := range []func(context.Context) error{r.immich, r.forgejo, r.metrics, r.wiki} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	objects, err := lab.RecordBucket(ctx, m, bucket, prefix)
	if err != nil {
		return err
	}
	if objects, err = r.toSnappy(objects); err != nil {
		return err
	}
	return r.write(objects)
}

func (r *recorder) write(objects []lab.RecordedObject) error {
	root, err := lab.ModuleRoot()
	if err != nil {
		return err
	}
	if err := r.count(objects); err != nil {
		return err
	}
	facts, err := json.MarshalIndent(r.servers, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(root, lab.BarmanFactsFile), append(facts, '\n'), 0o644); err != nil {
		return err
	}
	var packed bytes.Buffer
	if err := lab.WriteRecording(&packed, objects); err != nil {
		return err
	}
	log.Printf("%d objects, %d bytes packed", len(objects), packed.Len())
	if err := os.WriteFile(filepath.Join(root, lab.BarmanRecordingFile), packed.Bytes(), 0o644); err != nil {
		return fmt.Errorf("keep the recording: %w", err)
	}
	return nil
}
