package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"
)

// MinIO is a running S3 server with an empty store.
type MinIO struct {
	EndpointURL     string
	AccessKeyID     string
	SecretAccessKey string
	// Folder holds its objects on disk.
	Folder  string
	Process *Process
	client  *s3.Client
}

// MinIO starts an S3 server. Its keys are canaries: a test that finds them in any output has found a
// leak.
func (s *Stack) MinIO(ctx context.Context) (*MinIO, error) {
	program, err := Build(ctx, MinIOServer, s.logf)
	if err != nil {
		return nil, err
	}
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("minio-%d", port)
	dir, err := s.Dir(name)
	if err != nil {
		return nil, err
	}
	m := &MinIO{
		EndpointURL:     fmt.Sprintf("http://127.0.0.1:%d", port),
		AccessKeyID:     "CANARY-S3-KEY-ID",
		SecretAccessKey: "CANARY-S3-SECRET-4f1d",
		Folder:          filepath.Join(dir, "data"),
	}
	m.client = s3.New(s3.Options{
		BaseEndpoint: &m.EndpointURL, Region: "us-east-1", UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(m.AccessKeyID, m.SecretAccessKey, ""),
	})
	m.Process, err = s.Start(ctx, Command{
		Name: name, Path: program, Dir: dir,
		Args: []string{
			"server", "--quiet", "--address", fmt.Sprintf("127.0.0.1:%d", port), "--console-address", "127.0.0.1:0",
			"--certs-dir", filepath.Join(dir, "certs"), m.Folder,
		},
		Env:   []string{"MINIO_ROOT_USER=" + m.AccessKeyID, "MINIO_ROOT_PASSWORD=" + m.SecretAccessKey, "HOME=" + dir, "MINIO_UPDATE=off", "CI=true"},
		Ready: m.ready,
	})
	return m, err
}

func (m *MinIO) ready(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, m.EndpointURL+"/minio/health/ready", nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("health check answers %s", response.Status)
	}
	_, err = m.client.ListBuckets(ctx, &s3.ListBucketsInput{})
	return err
}

// MakeBucket makes a bucket; one that is there already is fine.
func (m *MinIO) MakeBucket(ctx context.Context, name string) error {
	_, err := m.client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &name})
	var exists *types.BucketAlreadyOwnedByYou
	if err != nil && !errors.As(err, &exists) {
		return fmt.Errorf("lab: make bucket %s: %w", name, err)
	}
	return nil
}

// PutObject writes one object.
func (m *MinIO) PutObject(ctx context.Context, bucket, key string, body []byte) error {
	_, err := m.client.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(body), ContentLength: aws.Int64(int64(len(body)))})
	if err != nil {
		return fmt.Errorf("lab: put s3://%s/%s: %w", bucket, key, err)
	}
	return nil
}

// DeleteObject removes one object.
func (m *MinIO) DeleteObject(ctx context.Context, bucket, key string) error {
	if _, err := m.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &bucket, Key: &key}); err != nil {
		return fmt.Errorf("lab: delete s3://%s/%s: %w", bucket, key, err)
	}
	return nil
}

// PutTree writes every file below dir as prefix/RELATIVE-PATH.
func (m *MinIO) PutTree(ctx context.Context, bucket, prefix, dir string) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(16)
	walk := filepath.WalkDir(dir, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		relative, err := filepath.Rel(dir, file)
		if err != nil {
			return err
		}
		group.Go(func() error {
			body, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			return m.PutObject(ctx, bucket, path.Join(prefix, filepath.ToSlash(relative)), body)
		})
		return nil
	})
	return errors.Join(walk, group.Wait())
}
