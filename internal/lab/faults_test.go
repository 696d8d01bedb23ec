package lab_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/lab"
)

// faultFixture is a MinIO with five objects of 100 kB.
func faultFixture(t *testing.T) (*lab.Stack, *lab.MinIO) {
	t.Helper()
	s := lab.ForTest(t)
	m, err := s.MinIO(t.Context())
	require.NoError(t, err)
	require.NoError(t, m.MakeBucket(t.Context(), "bucket"))
	for _, key := range []string{"a", "b", "c", "d", "e"} {
		require.NoError(t, m.PutObject(t.Context(), "bucket", key, []byte(strings.Repeat(key, 100_000))))
	}
	return s, m
}

// impatientS3 asks once and never again, so that each fault is seen.
func impatientS3(m *lab.MinIO, endpoint string, client *http.Client) *s3.Client {
	return s3.New(s3.Options{
		BaseEndpoint: &endpoint, Region: "us-east-1", UsePathStyle: true, HTTPClient: client, Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider(m.AccessKeyID, m.SecretAccessKey, ""),
	})
}

func list(t *testing.T, client *s3.Client) (int, error) {
	t.Helper()
	page, err := client.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String("bucket")})
	if err != nil {
		return 0, err
	}
	return len(page.Contents), nil
}

func get(t *testing.T, client *s3.Client, key string) (int, error) {
	t.Helper()
	object, err := client.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("bucket"), Key: &key})
	if err != nil {
		return 0, err
	}
	defer func() { _ = object.Body.Close() }()
	body, err := io.ReadAll(object.Body)
	return len(body), err
}

func TestS3ProxySpoilsTheRequestsItIsToldTo(t *testing.T) {
	s, m := faultFixture(t)
	p, err := s.S3Proxy(m, lab.S3Fault{Match: lab.S3Listing, First: 2, Last: 3, Status: http.StatusServiceUnavailable})
	require.NoError(t, err)
	client := impatientS3(m, p.EndpointURL, http.DefaultClient)

	for number, want := range []string{"", "SlowDown", "SlowDown", ""} {
		keys, err := list(t, client)
		if want == "" {
			require.NoError(t, err, "listing %d", number+1)
			require.Equal(t, 5, keys)
			continue
		}
		require.ErrorContains(t, err, want, "listing %d", number+1)
	}
	size, err := get(t, client, "a")
	require.NoError(t, err)
	require.Equal(t, 100_000, size)
	requests := p.Requests()
	require.Len(t, requests, 5)
	require.True(t, requests[3].Listing)
	require.Equal(t, "/bucket/a", requests[4].Path)

	p.Spoil(lab.S3Fault{Match: lab.S3Object("/b"), Cut: true}, lab.S3Fault{Match: lab.S3Listing, Cut: true})
	size, err = get(t, client, "b")
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Equal(t, 50_000, size)
	_, err = list(t, client)
	require.Error(t, err)
	size, err = get(t, client, "c")
	require.NoError(t, err)
	require.Equal(t, 100_000, size)
	require.Len(t, p.Requests(), 3)

	p.Spoil(lab.S3Fault{Delay: 60 * time.Millisecond})
	begin := time.Now()
	_, err = list(t, client)
	require.NoError(t, err)
	require.GreaterOrEqual(t, time.Since(begin), 60*time.Millisecond)
}

func TestS3ProxyWithAnUnknownAuthority(t *testing.T) {
	s, m := faultFixture(t)
	p, err := s.S3ProxyTLS(m)
	require.NoError(t, err)
	_, err = list(t, impatientS3(m, p.EndpointURL, http.DefaultClient))
	var unknown x509.UnknownAuthorityError
	require.ErrorAs(t, err, &unknown)

	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(p.CA))
	trusting := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	t.Cleanup(trusting.CloseIdleConnections)
	keys, err := list(t, impatientS3(m, p.EndpointURL, trusting))
	require.NoError(t, err)
	require.Equal(t, 5, keys)
}

func TestFaultProxyDelaysCutsHangsAndHeals(t *testing.T) {
	s, m := faultFixture(t)
	target, err := url.Parse(m.EndpointURL)
	require.NoError(t, err)
	p, err := s.FaultProxy(target.Host)
	require.NoError(t, err)
	// A connection for each request: what is spoilt is the connection.
	single := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	client := impatientS3(m, "http://"+p.Address, single)
	impatient := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, ResponseHeaderTimeout: 300 * time.Millisecond}}
	keys, err := list(t, client)
	require.NoError(t, err)
	require.Equal(t, 5, keys)

	require.NoError(t, p.Delay(80*time.Millisecond))
	begin := time.Now()
	_, err = list(t, client)
	require.NoError(t, err)
	require.GreaterOrEqual(t, time.Since(begin), 80*time.Millisecond)
	require.NoError(t, p.Heal(t.Context()))

	require.NoError(t, p.CutAfter(40_000))
	size, err := get(t, client, "a")
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Less(t, size, 40_000)
	require.NoError(t, p.Heal(t.Context()))

	require.NoError(t, p.Hang())
	_, err = list(t, impatientS3(m, "http://"+p.Address, impatient))
	require.ErrorContains(t, err, "timeout")
	require.NoError(t, p.Heal(t.Context()))

	p.Cut()
	_, err = list(t, client)
	require.ErrorContains(t, err, "connection refused")
	require.NoError(t, p.Heal(t.Context()))
	size, err = get(t, client, "a")
	require.NoError(t, err)
	require.Equal(t, 100_000, size)
}
