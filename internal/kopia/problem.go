package kopia

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/kopia/kopia/repo/blob"
	"github.com/kopia/kopia/repo/format"
	"github.com/minio/minio-go/v7"

	"github.com/drctl/drctl/internal/recovery"
)

// openProblem explains why a repository can't be opened.
func openProblem(l Location, err error) error {
	return explain("open the Kopia repository "+l.String(), l, err, recovery.ErrUnreachable)
}

// readProblem explains why an opened repository can't be read.
func readProblem(l Location, err error) error {
	return explain("read the Kopia repository "+l.String(), l, err, recovery.ErrDamaged)
}

// cause is what an error of the storage means for the person who reads it.
type cause struct {
	kind      error
	why, next string
}

// explain makes a Problem out of err. otherwise is its kind when nothing more is known. A Problem
// inside, and a cancelled context, stay what they are.
func explain(what string, l Location, err, otherwise error) error {
	var problem *recovery.Problem
	if errors.As(err, &problem) {
		return problem
	}
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("%s: %w", what, err)
	}
	for _, find := range []func(Location, error) (cause, bool){causeInS3, causeInTLS, causeInFiles, causeInNetwork, causeInBlobs} {
		if c, ok := find(l, err); ok {
			return &recovery.Problem{What: what, Why: c.why, Next: c.next, Err: errors.Join(c.kind, err)}
		}
	}
	return &recovery.Problem{What: what, Why: err.Error(), Err: errors.Join(otherwise, err)}
}

func causeInS3(l Location, err error) (cause, bool) {
	var answer minio.ErrorResponse
	if !errors.As(err, &answer) {
		return cause{}, false
	}
	const keys = "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
	switch answer.Code {
	case "NoSuchBucket":
		return cause{recovery.ErrNotFound, "there is no bucket " + l.Bucket, "check the bucket in --repo, and --endpoint-url"}, true
	case "InvalidAccessKeyId":
		return cause{recovery.ErrDenied, "the S3 server does not know the access key", keys}, true
	case "SignatureDoesNotMatch":
		return cause{recovery.ErrDenied, "the secret key does not belong to the access key", keys}, true
	case "RequestTimeTooSkewed":
		return cause{recovery.ErrDenied, "this machine's clock differs too much from the S3 server's", "set the clock"}, true
	}
	switch {
	case answer.StatusCode == http.StatusForbidden || answer.StatusCode == http.StatusUnauthorized:
		return cause{recovery.ErrDenied, "the S3 server refuses: " + answer.Code, keys + ", and that they may list and get in bucket " + l.Bucket}, true
	case answer.StatusCode >= http.StatusInternalServerError || answer.StatusCode == http.StatusTooManyRequests:
		return cause{recovery.ErrUnreachable, "the S3 server answers " + answer.Code, "try again later"}, true
	}
	return cause{recovery.ErrUnreachable, "the S3 server answers " + answer.Code + ": " + answer.Message, "check --endpoint-url and --repo"}, true
}

func causeInTLS(_ Location, err error) (cause, bool) {
	var (
		unknown   x509.UnknownAuthorityError
		name      x509.HostnameError
		invalid   x509.CertificateInvalidError
		verify    *tls.CertificateVerificationError
		notTLS    tls.RecordHeaderError
		trustNext = "give the CA with AWS_CA_BUNDLE=FILE"
	)
	switch {
	case errors.As(err, &unknown):
		return cause{recovery.ErrUnreachable, "no known authority signed the S3 server's certificate", trustNext}, true
	case errors.As(err, &name), errors.As(err, &invalid), errors.As(err, &verify):
		return cause{recovery.ErrUnreachable, "the S3 server's certificate is not valid: " + err.Error(), trustNext + ", or correct --endpoint-url"}, true
	case errors.As(err, &notTLS), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return cause{recovery.ErrUnreachable, "the S3 server does not speak TLS on this port", "give --endpoint-url http://…"}, true
	case strings.Contains(err.Error(), "Client sent an HTTP request to an HTTPS server"):
		return cause{recovery.ErrUnreachable, "the S3 server speaks TLS on this port", "give --endpoint-url https://…"}, true
	}
	return cause{}, false
}

func causeInFiles(l Location, err error) (cause, bool) {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return cause{recovery.ErrDenied, "user " + fmt.Sprint(os.Getuid()) + " may not read its files (Kopia writes them 0600, on the platform for user 568)",
			fmt.Sprintf("run drctl as the owner: sudo -u '#568' drctl …, or read it from the NFS server: --repo 'nfs://HOST/EXPORT?uid=%d&gid=%d'", defaultUID, defaultGID)}, true
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return cause{recovery.ErrNotFound, "there is no such folder", "check --repo, and that it is mounted"}, true
	case errors.Is(err, syscall.ESTALE), errors.Is(err, syscall.EIO), errors.Is(err, syscall.ENOTCONN):
		return cause{recovery.ErrUnreachable, "the mounted folder no longer answers: " + err.Error(), "check the mount " + l.Path}, true
	}
	return cause{}, false
}

func causeInNetwork(_ Location, err error) (cause, bool) {
	var (
		network   net.Error
		lookup    *net.DNSError
		operation *net.OpError
	)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return cause{recovery.ErrUnreachable, "it took too long", "check the network, or try again"}, true
	case errors.As(err, &lookup):
		return cause{recovery.ErrUnreachable, "the server's name can't be resolved: " + lookup.Name, "check --repo, --endpoint-url and the network"}, true
	case errors.As(err, &operation):
		return cause{recovery.ErrUnreachable, operation.Error(), "check that the server is up, --repo and --endpoint-url"}, true
	case errors.As(err, &network), errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ECONNRESET):
		return cause{recovery.ErrUnreachable, err.Error(), "check that the server is up, --repo and --endpoint-url"}, true
	}
	return cause{}, false
}

func causeInBlobs(_ Location, err error) (cause, bool) {
	switch {
	case isGone(err):
		return cause{recovery.ErrDamaged, "a file that should be there is not: " + err.Error(), checkNext}, true
	case errors.Is(err, blob.ErrInvalidRange):
		return cause{recovery.ErrDamaged, "a file is shorter than it should be: " + err.Error(), checkNext}, true
	}
	return cause{}, false
}

// checkNext is what to do about damage.
const checkNext = "run: kopia snapshot verify; a copy of the repository may still have the file"

func isGone(err error) bool { return errors.Is(err, errGone) || errors.Is(err, blob.ErrBlobNotFound) }

// noRepository explains that the format blob is not there.
func (r *Repository) noRepository(ctx context.Context) error {
	l := r.location
	problem := &recovery.Problem{
		What: "open the Kopia repository " + l.String(), Why: "there is no Kopia repository: no " + format.KopiaRepositoryBlobID,
		Next: "check --repo", Err: recovery.ErrNotFound,
	}
	switch l.Scheme {
	case SchemeFile:
		info, err := os.Stat(l.Path)
		if err == nil && !info.IsDir() {
			err = syscall.ENOTDIR
		}
		if err != nil {
			return openProblem(l, err)
		}
		if near, err := filepath.Glob(filepath.Join(escapeGlob(l.Path), "*", format.KopiaRepositoryBlobID+blobSuffix)); err == nil && len(near) > 0 {
			problem.Next = "there is one in " + filepath.Dir(near[0]) + ": give --repo " + filepath.Dir(near[0])
		}
	case SchemeS3:
		stop := errors.New("one is enough")
		if err := r.reader.Storage.ListBlobs(ctx, "", func(blob.Metadata) error { return stop }); err != nil && !errors.Is(err, stop) {
			return openProblem(l, err)
		}
		problem.Next = "check the bucket and the prefix in --repo: it must be the folder that holds " + format.KopiaRepositoryBlobID
	}
	return problem
}

// escapeGlob keeps a folder's name from being a pattern.
func escapeGlob(name string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(name)
}
