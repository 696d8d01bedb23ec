package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"time"

	"github.com/kopia/kopia/fs"
	"github.com/kopia/kopia/repo"
	"github.com/kopia/kopia/repo/object"
	"github.com/kopia/kopia/snapshot"
)

// moverID is the user and the group that own all files: the platform's movers run as 568.
const moverID = 568

// volumeFolders is over how many folders the files of a volume are spread.
const volumeFolders = 4

// writeVolume writes a volume of s.Files files with s.SizeBytes together, and gives its root. It writes
// what Kopia's uploader writes, from memory.
// Source: kopia snapshot/upload/upload.go, snapshot/snapshotfs/dir_manifest_builder.go.
func writeVolume(ctx context.Context, w repo.RepositoryWriter, s KopiaSnapshot, generation int) (*snapshot.DirEntry, error) {
	folders := make([][]*snapshot.DirEntry, min(volumeFolders, s.Files))
	for i := range s.Files {
		size := s.SizeBytes / int64(s.Files)
		if i == s.Files-1 {
			size += s.SizeBytes % int64(s.Files)
		}
		// A file is as old as its version: it changes with every third generation.
		modified := s.StartTime.Add(-time.Duration(1+(generation+i)%3) * time.Minute)
		content := seedContent(s.Source.String(), i, (generation+i)/3, size)
		entry, err := writeFile(ctx, w, fmt.Sprintf("file-%03d.txt", i), content, modified)
		if err != nil {
			return nil, err
		}
		folders[i%volumeFolders] = append(folders[i%volumeFolders], entry)
	}
	entries := make([]*snapshot.DirEntry, 0, len(folders))
	for i, files := range folders {
		folder, err := writeFolder(ctx, w, fmt.Sprintf("folder-%d", i), files, s.StartTime)
		if err != nil {
			return nil, err
		}
		entries = append(entries, folder)
	}
	return writeFolder(ctx, w, path.Base(s.Source.Path), entries, s.StartTime)
}

func writeFile(ctx context.Context, w repo.RepositoryWriter, name string, content []byte, modified time.Time) (*snapshot.DirEntry, error) {
	id, err := writeObject(ctx, w, object.WriterOptions{Description: "FILE:" + name}, content)
	if err != nil {
		return nil, err
	}
	return &snapshot.DirEntry{
		Name: name, Type: snapshot.EntryTypeFile, Permissions: 0o644, FileSize: int64(len(content)),
		ModTime: fs.UTCTimestampFromTime(modified), UserID: moverID, GroupID: moverID, ObjectID: id,
	}, nil
}

// writeFolder writes a folder whose entries are sorted already.
func writeFolder(ctx context.Context, w repo.RepositoryWriter, name string, entries []*snapshot.DirEntry, modified time.Time) (*snapshot.DirEntry, error) {
	summary := summarize(entries, modified)
	manifest, err := json.Marshal(&snapshot.DirManifest{StreamType: "kopia:directory", Entries: entries, Summary: summary})
	if err != nil {
		return nil, err
	}
	id, err := writeObject(ctx, w, object.WriterOptions{Description: "DIR:" + name, Prefix: "k"}, append(manifest, '\n'))
	if err != nil {
		return nil, err
	}
	return &snapshot.DirEntry{
		Name: name, Type: snapshot.EntryTypeDirectory, Permissions: 0o755, ModTime: fs.UTCTimestampFromTime(modified),
		UserID: moverID, GroupID: moverID, ObjectID: id, DirSummary: summary,
	}, nil
}

func summarize(entries []*snapshot.DirEntry, modified time.Time) *fs.DirectorySummary {
	summary := &fs.DirectorySummary{TotalDirCount: 1}
	if len(entries) == 0 {
		summary.MaxModTime = fs.UTCTimestampFromTime(modified)
	}
	for _, entry := range entries {
		newest := entry.ModTime
		if entry.Type == snapshot.EntryTypeFile {
			summary.TotalFileCount++
			summary.TotalFileSize += entry.FileSize
		} else {
			summary.TotalFileCount += entry.DirSummary.TotalFileCount
			summary.TotalFileSize += entry.DirSummary.TotalFileSize
			summary.TotalDirCount += entry.DirSummary.TotalDirCount
			newest = max(newest, entry.DirSummary.MaxModTime)
		}
		summary.MaxModTime = max(summary.MaxModTime, newest)
	}
	return summary
}

func writeObject(ctx context.Context, w repo.RepositoryWriter, options object.WriterOptions, content []byte) (id object.ID, err error) {
	writer := w.NewObjectWriter(ctx, options)
	defer func() { err = errors.Join(err, writer.Close()) }()
	if _, err := writer.Write(content); err != nil {
		return object.EmptyID, err
	}
	return writer.Result()
}

// seedContent is text that differs in every line, volume and version, so that it is not all one block
// after deduplication, and that a person can recognise after a restore.
func seedContent(volume string, file, version int, size int64) []byte {
	content := make([]byte, 0, size+128)
	for line := 0; int64(len(content)) < size; line++ {
		content = fmt.Appendf(content, "%s file %03d version %d line %d\n", volume, file, version, line)
	}
	return content[:size]
}
