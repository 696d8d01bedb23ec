package kopia_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/kopia/kopia/repo/format"
	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/kopia"
	"github.com/drctl/drctl/internal/recovery"
)

const canary = "CANARY-PASSWORD-0a1b"

// requireProblem checks what a person is told, and that no password is in it.
func requireProblem(t *testing.T, err, kind error, why, next string) {
	t.Helper()
	require.ErrorIs(t, err, kind)
	var problem *recovery.Problem
	require.ErrorAs(t, err, &problem)
	require.Contains(t, problem.Error(), why)
	require.Contains(t, problem.Next, next)
	require.NotContains(t, problem.Error(), "CANARY")
	for cause := error(problem); cause != nil; cause = errors.Unwrap(cause) {
		require.NotContains(t, cause.Error(), "CANARY")
	}
}

func TestOpenWithBadPassword(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	noFile := errors.New("read the password file: no such file")
	for name, test := range map[string]struct {
		ask       func(context.Context) (string, error)
		kind      error
		why, next string
	}{
		"wrong": {password(canary), recovery.ErrWrongPassword, "the password is wrong", "set KOPIA_PASSWORD, or give --password-file"},
		"empty": {password(""), recovery.ErrUsage, "the password is empty", "set KOPIA_PASSWORD, or give --password-file"},
		"none":  {nil, recovery.ErrUsage, "no password is given", "set KOPIA_PASSWORD, or give --password-file"},
		"a problem of its own": {
			func(context.Context) (string, error) {
				return "", &recovery.Problem{What: "get the password", Why: "no Secret", Next: "set it", Err: recovery.ErrNotFound}
			}, recovery.ErrNotFound, "no Secret", "set it",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, err := listOnce(t.Context(), p.Dir, kopia.Options{Password: test.ask})
			requireProblem(t, err, test.kind, test.why, test.next)
		})
	}
	_, _, err := listOnce(t.Context(), p.Dir, kopia.Options{Password: func(context.Context) (string, error) { return "", noFile }})
	require.ErrorIs(t, err, noFile)
	require.ErrorContains(t, err, p.Dir)
}

func TestOpenWhatIsNoRepository(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	empty := filepath.Join(dir, "empty [*]")
	require.NoError(t, os.Mkdir(empty, 0o700))
	parent := filepath.Join(dir, "parent")
	require.NoError(t, os.MkdirAll(filepath.Join(parent, "volsync"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(parent, "volsync", "kopia.repository.f"), nil, 0o600))
	for name, test := range map[string]struct{ dir, why, next string }{
		"missing":          {filepath.Join(dir, "missing"), "no such folder", "check --repo, and that it is mounted"},
		"a file":           {file, "no such folder", "check --repo"},
		"empty":            {empty, "there is no Kopia repository", "check --repo"},
		"one folder above": {parent, "there is no Kopia repository", "--repo " + filepath.Join(parent, "volsync")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, err := listOnce(t.Context(), test.dir, kopia.Options{Password: password(canary)})
			requireProblem(t, err, recovery.ErrNotFound, test.why, test.next)
			require.ErrorContains(t, err, test.dir)
		})
	}
}

// writeHeader makes a repository that consists of its format blob only.
func writeHeader(t *testing.T, change func(*format.KopiaRepositoryJSON, *format.RepositoryConfig)) string {
	t.Helper()
	header := &format.KopiaRepositoryJSON{
		UniqueID: []byte("0123456789abcdef0123456789abcdef"), EncryptionAlgorithm: format.DefaultFormatEncryption,
		KeyDerivationAlgorithm: format.DefaultKeyDerivationAlgorithm,
	}
	config := &format.RepositoryConfig{ContentFormat: format.ContentFormat{
		Hash: "BLAKE2B-256-128", Encryption: "AES256-GCM-HMAC-SHA256", HMACSecret: []byte("secret"), MasterKey: make([]byte, 32),
		MutableParameters: format.MutableParameters{Version: 3, MaxPackSize: 20 << 20, IndexVersion: 2},
	}}
	require.NoError(t, config.ResolveFormatVersion())
	key, err := header.DeriveFormatEncryptionKeyFromPassword(canary)
	require.NoError(t, err)
	named := header.EncryptionAlgorithm
	change(header, config)
	chosen := header.EncryptionAlgorithm
	header.EncryptionAlgorithm = named
	require.NoError(t, header.EncryptRepositoryConfig(config, key))
	header.EncryptionAlgorithm = chosen
	content, err := json.Marshal(header)
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "kopia.repository.f"), content, 0o600))
	return dir
}

func TestOpenNewerRepository(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change    func(*format.KopiaRepositoryJSON, *format.RepositoryConfig)
		why, next string
	}{
		"format version": {func(_ *format.KopiaRepositoryJSON, c *format.RepositoryConfig) { c.Version = 4 }, "version 4", "upgrade drctl"},
		"index version":  {func(_ *format.KopiaRepositoryJSON, c *format.RepositoryConfig) { c.IndexVersion = 3 }, "index version 3", "upgrade drctl"},
		"cipher":         {func(_ *format.KopiaRepositoryJSON, c *format.RepositoryConfig) { c.Encryption = "FUTURE" }, "FUTURE", "upgrade drctl"},
		"envelope":       {func(h *format.KopiaRepositoryJSON, _ *format.RepositoryConfig) { h.EncryptionAlgorithm = "FUTURE" }, "FUTURE", "upgrade drctl"},
		"key derivation": {func(h *format.KopiaRepositoryJSON, _ *format.RepositoryConfig) { h.KeyDerivationAlgorithm = "future" }, "future", "upgrade drctl"},
		"required feature": {func(_ *format.KopiaRepositoryJSON, c *format.RepositoryConfig) {
			require.NoError(t, json.Unmarshal([]byte(`{"requiredFeatures":[{"feature":"index-v2"},{"feature":"nice","ifNotUnderstood":{"warn":true}},{"feature":"warp"}]}`), c))
		}, `"warp"`, "upgrade drctl"},
		"upgrade in progress": {func(_ *format.KopiaRepositoryJSON, c *format.RepositoryConfig) {
			c.UpgradeLock = &format.UpgradeLockIntent{OwnerID: "admin@host", CreationTime: time.Now(), IODrainTimeout: time.Minute, Message: "m", MaxPermittedClockDrift: time.Second}
		}, "admin@host is upgrading it", "kopia repository upgrade rollback"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, err := listOnce(t.Context(), writeHeader(t, test.change), kopia.Options{Password: password(canary)})
			requireProblem(t, err, recovery.ErrUnsupported, test.why, test.next)
		})
	}
}

func TestOpenRepositoryWithoutAnyIndex(t *testing.T) {
	t.Parallel()
	dir := writeHeader(t, func(*format.KopiaRepositoryJSON, *format.RepositoryConfig) {})
	require.Empty(t, listing(t, dir, kopia.Options{Password: password(canary)}))
}

func TestOpenDamagedHeader(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]string{
		"empty": "", "cut short": `{"tool":"https://github.com/kopia/kopia","uniqueID":"AAAA`, "not JSON": "\x00\x01", "without settings": `{"uniqueID":"AAAA","encryption":"AES256_GCM"}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(dir, "kopia.repository.f"), []byte(content), 0o600))
			_, _, err := listOnce(t.Context(), dir, kopia.Options{Password: password(canary)})
			requireProblem(t, err, recovery.ErrDamaged, "kopia.repository is damaged", "kopia repository repair")
		})
	}
}

func TestOpenCancelled(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err := listOnce(ctx, p.Dir, kopia.Options{Password: password(p.Password)})
	require.ErrorIs(t, err, context.Canceled)
	var problem *recovery.Problem
	require.NotErrorAs(t, err, &problem, "the operator knows that it was cancelled")
}
