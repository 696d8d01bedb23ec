package lab

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sync/errgroup"
)

// recordedEncoding is the PAX record that says how an object was compressed before it was recorded:
// recordings keep the content plain, so that what several backups share is stored once, and compress
// it again when they are loaded.
const recordedEncoding = "DRCTL.encoding"

// recordedZeros is the PAX record that says how many zeros follow the content: most of a WAL segment
// that was closed early is zeros, and skipping them makes reading three times as fast.
const recordedZeros = "DRCTL.zeros"

// recordingWindowBytes is how far back the archive refers: over several base backups.
const recordingWindowBytes = 128 << 20

// BarmanRecordingFile is where `go run ./scripts/record` keeps the recorded catalogs, relative to the
// module's root.
const BarmanRecordingFile = "testdata/recordings/barman.tar.zst"

// RecordedObject is one object of a recorded bucket. Key is relative to the recording's root:
// immich/immich-database-v1/base/….
type RecordedObject struct {
	Key  string
	Body []byte
}

// WriteRecording packs objects, in their order, into one archive. What is compressed with gzip or
// snappy is kept plain inside and compressed again by ReadRecording: the content stays, the bytes of
// the compressed form may differ.
func WriteRecording(into io.Writer, objects []RecordedObject) error {
	packed, err := zstd.NewWriter(into, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithWindowSize(recordingWindowBytes))
	if err != nil {
		return fmt.Errorf("lab: pack a recording: %w", err)
	}
	archive := tar.NewWriter(packed)
	for _, object := range objects {
		if err := writeRecorded(archive, object); err != nil {
			return fmt.Errorf("lab: record %s: %w", object.Key, err)
		}
	}
	return errors.Join(archive.Close(), packed.Close())
}

func writeRecorded(archive *tar.Writer, object RecordedObject) error {
	encoding := encodingOf(object.Key)
	plain, err := decode(encoding, object.Body)
	if err != nil {
		return err
	}
	trimmed := bytes.TrimRight(plain, "\x00")
	zeros := len(plain) - len(trimmed)
	header := &tar.Header{Name: object.Key, Mode: 0o644, Size: int64(len(trimmed)), Format: tar.FormatPAX, PAXRecords: map[string]string{}}
	if encoding != "" {
		header.PAXRecords[recordedEncoding] = encoding
	}
	if zeros > 0 {
		header.PAXRecords[recordedZeros] = strconv.Itoa(zeros)
	}
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	_, err = archive.Write(trimmed)
	return err
}

// encodingOf tells by the key's suffix what can be undone and redone; bzip2 is not among it, Go cannot
// write it.
func encodingOf(key string) string {
	switch path.Ext(key) {
	case ".gz":
		return "gzip"
	case ".snappy":
		return "snappy"
	}
	return ""
}

func decode(encoding string, body []byte) ([]byte, error) {
	switch encoding {
	case "gzip":
		reader, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		return io.ReadAll(reader)
	case "snappy":
		return io.ReadAll(snappy.NewReader(bytes.NewReader(body)))
	}
	return body, nil
}

func encode(encoding string, plain []byte) ([]byte, error) {
	var body bytes.Buffer
	var writer io.WriteCloser
	switch encoding {
	case "":
		return plain, nil
	case "gzip":
		fast, err := gzip.NewWriterLevel(&body, gzip.BestSpeed)
		if err != nil {
			return nil, err
		}
		writer = fast
	case "snappy":
		writer = snappy.NewBufferedWriter(&body)
	default:
		return nil, fmt.Errorf("lab: the recording has the unknown encoding %q", encoding)
	}
	_, err := writer.Write(plain)
	if err := errors.Join(err, writer.Close()); err != nil {
		return nil, err
	}
	return body.Bytes(), nil
}

// ReadRecording gives the objects of a recording in the recorded order. It skips one where choose does
// not take it, and ends where choose says that nothing more is wanted. The body is made by stored,
// which may run later and elsewhere: compressing is what takes the time.
func ReadRecording(from io.Reader, choose func(key string) (take, more bool), each func(key string, stored func() ([]byte, error)) error) error {
	packed, err := zstd.NewReader(from, zstd.WithDecoderMaxWindow(recordingWindowBytes), zstd.WithDecoderConcurrency(1))
	if err != nil {
		return fmt.Errorf("lab: open the recording: %w", err)
	}
	defer packed.Close()
	archive := tar.NewReader(packed)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("lab: read the recording: %w", err)
		}
		take, more := choose(header.Name)
		if !more {
			return nil
		}
		if !take {
			continue
		}
		plain, err := recordedContent(archive, header)
		if err != nil {
			return fmt.Errorf("lab: read %s in the recording: %w", header.Name, err)
		}
		encoding := header.PAXRecords[recordedEncoding]
		if err := each(header.Name, func() ([]byte, error) { return encode(encoding, plain) }); err != nil {
			return err
		}
	}
}

func recordedContent(archive io.Reader, header *tar.Header) ([]byte, error) {
	zeros := 0
	if text := header.PAXRecords[recordedZeros]; text != "" {
		var err error
		if zeros, err = strconv.Atoi(text); err != nil || zeros < 0 || zeros > recordingWindowBytes {
			return nil, fmt.Errorf("%q is no number of zeros", text)
		}
	}
	plain := make([]byte, header.Size+int64(zeros))
	_, err := io.ReadFull(archive, plain[:header.Size])
	return plain, err
}

// LoadBarmanRecording puts the recorded Barman catalogs below s3://bucket/prefix, one folder for each
// destination: immich, forgejo, … (RecordedServers lists them). Without names it loads every
// destination; the bucket is made when it is not there. The objects' LastModified is the loading.
func LoadBarmanRecording(ctx context.Context, m *MinIO, bucket, prefix string, destinations ...string) error {
	root, err := ModuleRoot()
	if err != nil {
		return err
	}
	file, err := os.Open(filepath.Join(root, filepath.FromSlash(BarmanRecordingFile)))
	if err != nil {
		return fmt.Errorf("lab: open the recorded backups: %w", err)
	}
	defer func() { _ = file.Close() }()
	if err := m.MakeBucket(ctx, bucket); err != nil {
		return err
	}
	// The destinations are recorded in order of their names.
	choose := func(key string) (take, more bool) {
		destination, _, _ := strings.Cut(key, "/")
		if len(destinations) == 0 {
			return true, true
		}
		return slices.Contains(destinations, destination), destination <= slices.Max(destinations)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	err = ReadRecording(file, choose, func(key string, stored func() ([]byte, error)) error {
		group.Go(func() error {
			body, err := stored()
			if err != nil {
				return fmt.Errorf("lab: compress %s again: %w", key, err)
			}
			return m.PutObject(ctx, bucket, path.Join(prefix, key), body)
		})
		return ctx.Err()
	})
	return errors.Join(err, group.Wait())
}
