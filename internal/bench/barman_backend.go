package bench

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/drctl/drctl/internal/lab"
)

// minioBackend is the lab's MinIO.
type minioBackend struct{ *lab.MinIO }

func (m minioBackend) endpointURL() string { return m.EndpointURL }

func (m minioBackend) put(ctx context.Context, key string, body []byte) error {
	return m.PutObject(ctx, barmanBucket, key, body)
}

// putEmpty writes the first object through S3 and copies its metadata on disk for the others: 100,000
// requests would take longer than everything that is measured. The metadata of an object does not hold
// its name.
func (m minioBackend) putEmpty(ctx context.Context, keys []string) error {
	if len(keys) == 0 {
		return nil
	}
	if err := m.put(ctx, keys[0], nil); err != nil {
		return err
	}
	bucket := filepath.Join(m.Folder, barmanBucket)
	const metadata = "xl.meta"
	content, err := os.ReadFile(filepath.Join(bucket, filepath.FromSlash(keys[0]), metadata))
	if err != nil {
		return fmt.Errorf("bench: what MinIO wrote: %w", err)
	}
	for _, key := range keys[1:] {
		folder := filepath.Join(bucket, filepath.FromSlash(key))
		err := errors.Join(os.MkdirAll(folder, 0o755), ctx.Err())
		if err == nil {
			err = os.WriteFile(filepath.Join(folder, metadata), content, 0o644)
		}
		if err != nil {
			return fmt.Errorf("bench: write %s: %w", key, err)
		}
	}
	return nil
}

// memoryBackend answers ListObjectsV2 and GetObject out of memory. It knows as much of S3 as the works
// ask for: no signatures, no escapes.
type memoryBackend struct {
	server *httptest.Server
	keys   []string
	bodies map[string][]byte
}

func newMemoryBackend(_ context.Context) *memoryBackend {
	m := &memoryBackend{bodies: map[string][]byte{}}
	m.server = httptest.NewServer(m)
	return m
}

func (m *memoryBackend) close() error { m.server.Close(); return nil }

func (m *memoryBackend) endpointURL() string { return m.server.URL }

func (m *memoryBackend) put(ctx context.Context, key string, body []byte) error {
	m.bodies[key] = body
	return m.putEmpty(ctx, []string{key})
}

func (m *memoryBackend) putEmpty(_ context.Context, keys []string) error {
	m.keys = append(m.keys, keys...)
	slices.Sort(m.keys)
	return nil
}

func (m *memoryBackend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	var err error
	if query.Get("list-type") == "2" {
		_, err = w.Write(m.page(query.Get("prefix"), max(query.Get("start-after"), query.Get("continuation-token")), query.Get("delimiter")))
	} else {
		_, err = w.Write(m.bodies[strings.TrimPrefix(r.URL.Path, "/"+barmanBucket+"/")])
	}
	if err != nil {
		// The client went away; net/http ends the connection.
		return
	}
}

// page renders up to 1,000 keys behind after.
func (m *memoryBackend) page(prefix, after, delimiter string) []byte {
	const most = 1000
	var list []byte
	count, last := 0, ""
	start, _ := slices.BinarySearch(m.keys, max(prefix, after))
	for _, key := range m.keys[start:] {
		if !strings.HasPrefix(key, prefix) {
			break
		}
		folder := ""
		if end := strings.Index(key[len(prefix):], delimiter); delimiter != "" && end >= 0 {
			folder = key[:len(prefix)+end+1]
		}
		if key <= after || (folder != "" && (folder == last || strings.HasPrefix(after, folder))) {
			continue
		}
		if count == most {
			return fmt.Appendf(list, "<IsTruncated>true</IsTruncated><NextContinuationToken>%s</NextContinuationToken></ListBucketResult>", last)
		}
		if count == 0 {
			list = append(list, "<ListBucketResult>"...)
		}
		count++
		if last = key; folder != "" {
			last = folder
			list = append(append(append(list, "<CommonPrefixes><Prefix>"...), folder...), "</Prefix></CommonPrefixes>"...)
			continue
		}
		list = append(append(append(list, "<Contents><Key>"...), key...), "</Key><LastModified>2026-11-23T02:33:20.957Z</LastModified>"+
			"<ETag>&quot;d41d8cd98f00b204e9800998ecf8427e&quot;</ETag><Size>0</Size><StorageClass>STANDARD</StorageClass></Contents>"...)
	}
	if count == 0 {
		list = append(list, "<ListBucketResult>"...)
	}
	return append(list, "<IsTruncated>false</IsTruncated></ListBucketResult>"...)
}
