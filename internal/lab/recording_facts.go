package lab

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/drctl/drctl/internal/recovery"
)

// BarmanFactsFile tells what the recorded catalogs hold, relative to the module's root. It is written
// by the program that recorded them, from what it did and not from what drctl reads.
const BarmanFactsFile = "testdata/recordings/barman.json"

// RecordedServer is one server of the recorded catalogs, and what drctl must find in it.
type RecordedServer struct {
	// Destination is the folder below the prefix of LoadBarmanRecording; Server the one below it.
	Destination string           `json:"destination"`
	Server      string           `json:"server"`
	SystemID    string           `json:"systemID"`
	Backups     []RecordedBackup `json:"backups"`
	// SegmentCount counts whole segments, after the gaps were made.
	SegmentCount     int               `json:"segmentCount"`
	SegmentSizeBytes int64             `json:"segmentSizeBytes"`
	Timelines        []int64           `json:"timelines"`
	Gaps             []recovery.WALGap `json:"gaps"`
	MissingHistory   []string          `json:"missingHistory"`
	Partials         []string          `json:"partials"`
	// Database, SQL and Rows prove a recovery from the newest backup to the end of the archive.
	Database string `json:"database"`
	SQL      string `json:"sql"`
	Rows     string `json:"rows"`
}

// RecordedBackup is one recorded base backup.
type RecordedBackup struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	Status      string `json:"status"`
	Timeline    int64  `json:"timeline"`
	Kept        bool   `json:"kept"`
	Restorable  bool   `json:"restorable"`
	Compression string `json:"compression"`
	// Why says what makes it not restorable.
	Why string `json:"why,omitempty"`
}

// RecordedServers is every server of the recorded catalogs.
func RecordedServers() ([]RecordedServer, error) {
	root, err := ModuleRoot()
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(BarmanFactsFile)))
	if err != nil {
		return nil, fmt.Errorf("lab: read the facts of the recorded backups: %w", err)
	}
	var servers []RecordedServer
	if err := json.Unmarshal(text, &servers); err != nil {
		return nil, fmt.Errorf("lab: read %s: %w", BarmanFactsFile, err)
	}
	return servers, nil
}

// Keys lists the keys below s3://bucket/prefix, sorted.
func (m *MinIO) Keys(ctx context.Context, bucket, prefix string) ([]string, error) {
	var keys []string
	pages := s3.NewListObjectsV2Paginator(m.client, &s3.ListObjectsV2Input{Bucket: &bucket, Prefix: &prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("lab: list s3://%s/%s: %w", bucket, prefix, err)
		}
		for _, object := range page.Contents {
			keys = append(keys, *object.Key)
		}
	}
	return keys, nil
}

// GetObject reads one object.
func (m *MinIO) GetObject(ctx context.Context, bucket, key string) ([]byte, error) {
	object, err := m.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return nil, fmt.Errorf("lab: get s3://%s/%s: %w", bucket, key, err)
	}
	defer func() { _ = object.Body.Close() }()
	body, err := io.ReadAll(object.Body)
	if err != nil {
		return nil, fmt.Errorf("lab: read s3://%s/%s: %w", bucket, key, err)
	}
	return body, nil
}

// RecordBucket reads everything below s3://bucket/prefix for WriteRecording, with keys relative to the
// prefix: one destination after another, the data files of each first. What they share is found best
// when they are close to each other, and who wants the first destinations need not read the others.
func RecordBucket(ctx context.Context, m *MinIO, bucket, prefix string) ([]RecordedObject, error) {
	keys, err := m.Keys(ctx, bucket, prefix)
	if err != nil {
		return nil, err
	}
	objects := make([]RecordedObject, 0, len(keys))
	for _, key := range keys {
		body, err := m.GetObject(ctx, bucket, key)
		if err != nil {
			return nil, err
		}
		objects = append(objects, RecordedObject{Key: strings.TrimPrefix(strings.TrimPrefix(key, prefix), "/"), Body: body})
	}
	slices.SortFunc(objects, compareRecorded)
	return objects, nil
}

func compareRecorded(a, b RecordedObject) int {
	destinationA, _, _ := strings.Cut(a.Key, "/")
	destinationB, _, _ := strings.Cut(b.Key, "/")
	return cmp.Or(cmp.Compare(destinationA, destinationB), cmp.Compare(dataFirst(a.Key), dataFirst(b.Key)), cmp.Compare(a.Key, b.Key))
}

func dataFirst(key string) int {
	if strings.Contains(path.Base(key), ".tar") {
		return 0
	}
	return 1
}
