// Package config reads drctl's configuration files. It holds places, never secrets: a password in a
// configuration file is refused.
//
// It imports recovery and the YAML library only.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"

	"sigs.k8s.io/yaml"

	"github.com/drctl/drctl/internal/recovery"
)

// mostBytes bounds what is read: a configuration file is a few lines.
const mostBytes = 64 << 10

// File is the content of config.yaml or .drctl.yaml. Every field is a place; empty means not set.
type File struct {
	// Repo is the Kopia repository, as --repo takes it.
	Repo string `json:"repo,omitempty"`
	// PasswordFile is the path of a file that holds the Kopia password.
	PasswordFile string `json:"passwordFile,omitempty"`
	// GitOps is the folder of the GitOps tree.
	GitOps string `json:"gitops,omitempty"`
	// DestinationPath is the Barman destination, s3://BUCKET/PATH.
	DestinationPath string `json:"destinationPath,omitempty"`
	// EndpointURL is the S3 endpoint.
	EndpointURL string `json:"endpointURL,omitempty"`
	// CAFile is a CA bundle for the S3 endpoint.
	CAFile string `json:"caFile,omitempty"`
	// CacheDirectory keeps Kopia's index between runs; nothing is kept when it is empty.
	CacheDirectory string `json:"cacheDirectory,omitempty"`
}

// Parse reads a configuration file's content. Unknown keys are refused: a misspelt one would be
// silently without effect in an incident.
func Parse(content []byte) (File, error) {
	var file File
	if len(content) > mostBytes {
		return file, fmt.Errorf("it has %d bytes, more than the %d that are read: %w", len(content), mostBytes, recovery.ErrDamaged)
	}
	if bytes.IndexByte(content, 0) >= 0 {
		return file, fmt.Errorf("it is binary: %w", recovery.ErrDamaged)
	}
	if err := yaml.UnmarshalStrict(content, &file); err != nil {
		return File{}, fmt.Errorf("%w: %w", recovery.ErrUsage, err)
	}
	return file, file.validate()
}

func (f File) validate() error {
	for _, place := range []struct{ key, value string }{
		{"repo", f.Repo}, {"passwordFile", f.PasswordFile}, {"gitops", f.GitOps}, {"destinationPath", f.DestinationPath},
		{"endpointURL", f.EndpointURL}, {"caFile", f.CAFile}, {"cacheDirectory", f.CacheDirectory},
	} {
		// YAML can say any byte (!!binary), and what is read here is shown on terminals. The value itself
		// is not: it may hold a password.
		if !utf8.ValidString(place.value) || strings.ContainsFunc(place.value, func(r rune) bool { return !unicode.IsGraphic(r) }) {
			return fmt.Errorf("%s holds a line end or another character that no place has: %w", place.key, recovery.ErrUsage)
		}
	}
	for _, url := range []string{f.Repo, f.DestinationPath, f.EndpointURL} {
		// Without a scheme it would still be an address to many programs.
		_, rest, found := strings.Cut(url, "//")
		authority, _, _ := strings.Cut(rest, "/")
		// The last @ ends the user's part: a name or a password may hold one itself.
		if end := strings.LastIndex(authority, "@"); found && end >= 0 && strings.Contains(authority[:end], ":") {
			return fmt.Errorf("an address holds a password, which belongs into the environment or a password file: %w", recovery.ErrUsage)
		}
	}
	return nil
}

// Read reads the file at path. A file that is not there is an empty configuration.
func Read(path string) (File, error) {
	handle, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return File{}, nil
	}
	if err != nil {
		return File{}, problem(path, err)
	}
	defer func() { _ = handle.Close() }()
	content, err := io.ReadAll(io.LimitReader(handle, mostBytes+1))
	if err != nil {
		return File{}, problem(path, err)
	}
	file, err := Parse(content)
	if err != nil {
		return File{}, problem(path, err)
	}
	file.resolve(filepath.Dir(path))
	return file, nil
}

// resolve makes the relative paths of a file mean: relative to the file.
func (f *File) resolve(base string) {
	for _, path := range []*string{&f.PasswordFile, &f.GitOps, &f.CAFile, &f.CacheDirectory} {
		if *path != "" && !filepath.IsAbs(*path) {
			*path = filepath.Join(base, *path)
		}
	}
	if strings.HasPrefix(f.Repo, "./") || strings.HasPrefix(f.Repo, "../") {
		f.Repo = filepath.Join(base, f.Repo)
	}
}

func problem(path string, err error) error {
	return &recovery.Problem{
		What: "read the configuration " + path, Why: err.Error(),
		Next: "correct it, or remove it: known keys are repo, passwordFile, gitops, destinationPath, endpointURL, caFile, cacheDirectory",
		Err:  err,
	}
}

// Merge fills what is not set here from other.
func (f File) Merge(other File) File {
	for _, pair := range []struct{ mine, theirs *string }{
		{&f.Repo, &other.Repo}, {&f.PasswordFile, &other.PasswordFile}, {&f.GitOps, &other.GitOps},
		{&f.DestinationPath, &other.DestinationPath}, {&f.EndpointURL, &other.EndpointURL},
		{&f.CAFile, &other.CAFile}, {&f.CacheDirectory, &other.CacheDirectory},
	} {
		if *pair.mine == "" {
			*pair.mine = *pair.theirs
		}
	}
	return f
}
