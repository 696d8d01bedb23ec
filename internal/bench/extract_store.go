package bench

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/drctl/drctl/internal/lab"
)

const extractBucket = "volsync"

// forwardBuffer keeps the stand-in for the distance cheap: a store that is far away takes nothing of this machine's
// processors, and what the stand-in takes is missing to the side that is not waiting.
const forwardBuffer = 256 << 10

var forwardMemory = sync.Pool{New: func() any { return new([forwardBuffer]byte) }}

// forwardBuffers implements httputil.BufferPool.
type forwardBuffers struct{}

func (forwardBuffers) Get() []byte { return forwardMemory.Get().(*[forwardBuffer]byte)[:] }

func (forwardBuffers) Put(b []byte) { forwardMemory.Put((*[forwardBuffer]byte)(b)) }

// extractStore is a Kopia repository in a real S3 server, behind a delay and a count of the objects
// that are read.
type extractStore struct {
	*lab.Kopia
	minio    *lab.MinIO
	program  string
	dir      string
	endpoint string
	snapshot string
	delay    atomic.Int64
	reads    atomic.Int64
	runs     map[string]int
	closers  []func()
}

func newExtractStore(ctx context.Context, env Env, delay time.Duration) (*extractStore, error) {
	stack := lab.NewStack(filepath.Join(env.Dir, "lab"), env.Logf)
	s := &extractStore{program: env.Drctl, dir: env.Dir, runs: map[string]int{}, closers: []func(){func() {
		if err := stack.Close(); err != nil {
			env.Logf("close the lab: %v", err)
		}
	}}}
	err := s.start(ctx, stack)
	if err != nil {
		s.close()
		return nil, err
	}
	s.delay.Store(int64(delay))
	return s, nil
}

func (s *extractStore) start(ctx context.Context, stack *lab.Stack) (err error) {
	if s.minio, err = stack.MinIO(ctx); err != nil {
		return err
	}
	if err := s.minio.MakeBucket(ctx, extractBucket); err != nil {
		return err
	}
	if s.Kopia, err = stack.Kopia(ctx); err != nil {
		return err
	}
	upstream, err := url.Parse(s.minio.EndpointURL)
	if err != nil {
		return err
	}
	// The signature covers the Host header, so it goes through as the client wrote it.
	forward := &httputil.ReverseProxy{
		Rewrite:    func(r *httputil.ProxyRequest) { r.SetURL(upstream); r.Out.Host = r.In.Host },
		Transport:  &http.Transport{MaxIdleConns: 256, MaxIdleConnsPerHost: 256, ReadBufferSize: forwardBuffer},
		BufferPool: forwardBuffers{},
	}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && r.URL.Query().Get("list-type") == "" {
			s.reads.Add(1)
		}
		time.Sleep(time.Duration(s.delay.Load()))
		forward.ServeHTTP(w, r)
	}))
	s.closers = append(s.closers, front.Close)
	s.endpoint = front.URL
	_, err = s.Run(ctx, "repository", "create", "s3", "--bucket", extractBucket, "--prefix", "kopia/", "--disable-tls", "--endpoint", strings.TrimPrefix(s.endpoint, "http://"),
		"--access-key", s.minio.AccessKeyID, "--secret-access-key", s.minio.SecretAccessKey)
	return err
}

func (s *extractStore) close() {
	for i := len(s.closers) - 1; i >= 0; i-- {
		s.closers[i]()
	}
}

func (s *extractStore) repository() string { return "s3://" + extractBucket + "/kopia" }

// backUp makes the one snapshot.
func (s *extractStore) backUp(ctx context.Context, write func(dir string) error) error {
	data := filepath.Join(s.dir, "data")
	if err := os.MkdirAll(data, 0o755); err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	if err := write(data); err != nil {
		return fmt.Errorf("bench: write what is backed up: %w", err)
	}
	delay := s.delay.Load()
	s.delay.Store(0) // nothing is measured yet
	err := s.Snapshot(ctx, extractSource, data)
	s.delay.Store(delay)
	if err != nil {
		return err
	}
	out, err := s.Run(ctx, "snapshot", "list", "--all", "--json")
	if err != nil {
		return err
	}
	var made []struct{ ID string }
	if err := json.Unmarshal(out, &made); err != nil || len(made) != 1 {
		return fmt.Errorf("bench: %d snapshots after the first: %w", len(made), err)
	}
	s.snapshot = made[0].ID
	return os.RemoveAll(data)
}

// counted notes how many objects one run of a side read.
func (s *extractStore) counted(count *int64, run func(context.Context) (int, error)) func(context.Context) (int, error) {
	return func(ctx context.Context) (int, error) {
		before := s.reads.Load()
		found, err := run(ctx)
		*count = s.reads.Load() - before
		return found, err
	}
}

// equal compares what both sides took out.
func (s *extractStore) equal() error {
	ours, err := hashTree(filepath.Join(s.dir, "drctl1"))
	if err != nil {
		return err
	}
	theirs, err := hashTree(filepath.Join(s.dir, "kopia1"))
	if err != nil {
		return err
	}
	if !bytes.Equal(ours, theirs) {
		return errors.New("bench: drctl and Kopia took different files out")
	}
	return nil
}

// hashTree sums up names, modes, times and contents of files.
func hashTree(root string) ([]byte, error) {
	sum := sha256.New()
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		file, err := os.Open(name)
		if err != nil {
			return err
		}
		defer func() { _ = file.Close() }()
		_, err = fmt.Fprintln(sum, strings.TrimPrefix(name, root), info.Mode(), info.ModTime().UnixNano(), info.Size())
		if err == nil {
			_, err = io.Copy(sum, file)
		}
		return err
	})
	return sum.Sum(nil), err
}

func countFiles(root string) (int, error) {
	count := 0
	err := filepath.WalkDir(root, func(_ string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			count++
		}
		return err
	})
	return count, err
}

// writeSmall writes files of 1 KB that nothing can compress, a hundred in a folder.
func writeSmall(dir string, files int) error {
	const perFolder, size = 100, 1000
	generator := rand.NewChaCha8([32]byte{1})
	content := make([]byte, size)
	for i := range files {
		folder := filepath.Join(dir, fmt.Sprintf("%04d", i/perFolder))
		if i%perFolder == 0 {
			if err := os.Mkdir(folder, 0o755); err != nil {
				return err
			}
		}
		_, _ = generator.Read(content) // it never fails
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprint(i)), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// writeLarge writes one file that nothing can compress.
func writeLarge(name string, size int64) (err error) {
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	buffered := bufio.NewWriterSize(file, 1<<20)
	if _, err := io.CopyN(buffered, rand.NewChaCha8([32]byte{2}), size); err != nil {
		return err
	}
	return buffered.Flush()
}
