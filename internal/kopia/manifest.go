package kopia

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/drctl/drctl/internal/recovery"
)

// snapshotType is the label of snapshot manifests; others are policies, maintenance, users.
// Source: kopia snapshot/manager.go, ManifestType.
const snapshotType = "snapshot"

// manifestEntry is one manifest out of a manifest content. A later entry of the same ID replaces an
// earlier one, and may say that it was deleted.
// Source: kopia repo/manifest/serialized.go.
type manifestEntry struct {
	id       string
	modified time.Time
	deleted  bool
	// snapshot is nil for other kinds of manifests, and for one that err says can't be read.
	snapshot *recovery.Snapshot
	err      error
}

// storedManifests is a manifest content as Kopia writes it, with of each manifest only what a
// snapshot has. Times stay text until the type is known: other types have other fields.
type storedManifests struct {
	Entries []storedEntry `json:"entries"`
}

type storedEntry struct {
	ID       string         `json:"id"`
	Labels   storedLabels   `json:"labels"`
	Modified time.Time      `json:"modified"`
	Deleted  bool           `json:"deleted"`
	Data     storedSnapshot `json:"data"`
}

type storedLabels struct {
	Type string `json:"type"`
}

// Source: kopia snapshot/manifest.go.
type storedSnapshot struct {
	Source struct {
		Host     string `json:"host"`
		UserName string `json:"userName"`
		Path     string `json:"path"`
	} `json:"source"`
	StartTime  string   `json:"startTime"`
	EndTime    string   `json:"endTime"`
	Incomplete string   `json:"incomplete"`
	Pins       []string `json:"pins"`
	RootEntry  struct {
		ObjectID string `json:"obj"`
		Summary  struct {
			Size      int64 `json:"size"`
			Files     int64 `json:"files"`
			Dirs      int64 `json:"dirs"`
			NumFailed int64 `json:"numFailed"`
		} `json:"summ"`
	} `json:"rootEntry"`
}

// decodeManifests decodes one manifest content: gzipped JSON.
func decodeManifests(packed []byte) ([]manifestEntry, error) {
	unzip, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("unpack manifests: %w", err)
	}
	var plain bytes.Buffer
	plain.Grow(plainSize(packed) + bytes.MinRead)
	if _, err := plain.ReadFrom(unzip); err != nil {
		return nil, fmt.Errorf("unpack manifests: %w", err)
	}
	var stored storedManifests
	err = json.Unmarshal(plain.Bytes(), &stored)
	var mismatch *json.UnmarshalTypeError
	if errors.As(err, &mismatch) {
		// Some manifest of another type has a field of the same name: everything else was decoded, but
		// which field stopped it is unknown, so decode the data of each manifest by itself.
		return decodeOneByOne(plain.Bytes())
	}
	if err != nil {
		return nil, fmt.Errorf("parse manifests: %w", err)
	}
	entries := make([]manifestEntry, 0, len(stored.Entries))
	for i := range stored.Entries {
		entries = append(entries, stored.Entries[i].entry())
	}
	return entries, nil
}

// plainSize is how many bytes the end of a gzip file says that it unpacks to, bounded by what JSON can
// be packed into, so that damage does not ask for gigabytes.
func plainSize(packed []byte) int {
	if len(packed) < 4 {
		return 0
	}
	return min(int(binary.LittleEndian.Uint32(packed[len(packed)-4:])), 50*len(packed))
}

func decodeOneByOne(plain []byte) ([]manifestEntry, error) {
	var stored struct {
		Entries []struct {
			storedEntry

			Data json.RawMessage `json:"data"`
		} `json:"entries"`
	}
	if err := json.Unmarshal(plain, &stored); err != nil {
		return nil, fmt.Errorf("parse manifests: %w", err)
	}
	entries := make([]manifestEntry, 0, len(stored.Entries))
	for _, s := range stored.Entries {
		if s.Labels.Type != snapshotType || s.Deleted {
			entries = append(entries, s.entry())
			continue
		}
		if err := json.Unmarshal(s.Data, &s.storedEntry.Data); err != nil {
			entries = append(entries, manifestEntry{id: s.ID, modified: s.Modified, err: err})
			continue
		}
		entries = append(entries, s.entry())
	}
	return entries, nil
}

func (s *storedEntry) entry() manifestEntry {
	e := manifestEntry{id: s.ID, modified: s.Modified, deleted: s.Deleted}
	if s.Labels.Type == snapshotType && !s.Deleted {
		e.snapshot, e.err = s.Data.snapshot(s.ID)
	}
	return e
}

func (d *storedSnapshot) snapshot(id string) (*recovery.Snapshot, error) {
	start, err := time.Parse(time.RFC3339Nano, d.StartTime)
	if err != nil {
		return nil, fmt.Errorf("its startTime is no time: %w", err)
	}
	end, err := time.Parse(time.RFC3339Nano, d.EndTime)
	if err != nil {
		return nil, fmt.Errorf("its endTime is no time: %w", err)
	}
	summary := d.RootEntry.Summary
	return &recovery.Snapshot{
		ID:         id,
		Source:     recovery.KopiaSource{Username: d.Source.UserName, Hostname: d.Source.Host, Path: d.Source.Path},
		StartTime:  start.UTC(),
		EndTime:    end.UTC(),
		SizeBytes:  summary.Size,
		FileCount:  summary.Files,
		DirCount:   summary.Dirs,
		ErrorCount: summary.NumFailed,
		Incomplete: d.Incomplete,
		Pins:       d.Pins,
		RootID:     d.RootEntry.ObjectID,
	}, nil
}
