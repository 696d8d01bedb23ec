package lab

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// checkout writes the whole tree of a commit into dir: a kustomization may refer to its neighbours.
func (r *GitRemote) checkout(ctx context.Context, hash, dir string) error {
	archive, err := git(ctx, r.Dir, "archive", "--format=tar", hash)
	if err != nil {
		return err
	}
	reader := tar.NewReader(strings.NewReader(archive))
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("lab: archive of %s: %w", hash, err)
		}
		if header.Typeflag != tar.TypeReg {
			continue
		}
		if err := unpack(reader, header.Name, dir); err != nil {
			return fmt.Errorf("lab: unpack %s of %s: %w", header.Name, hash, err)
		}
	}
}

func unpack(content io.Reader, name, dir string) error {
	if !filepath.IsLocal(name) {
		return fmt.Errorf("%q leads out of the archive", name)
	}
	var file bytes.Buffer
	if _, err := file.ReadFrom(content); err != nil {
		return err
	}
	target := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	return os.WriteFile(target, file.Bytes(), 0o600)
}
