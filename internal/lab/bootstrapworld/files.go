package bootstrapworld

import (
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// files are the GitOps tree, the operator's Secrets and the chart, with words in capitals for what differs from
// world to world.
//
//go:embed files
var files embed.FS

// Write writes "tree", "secrets" or "chart" below dir for another world. Words are pairs: a word in capitals, and what it
// stands for there.
func Write(folder, dir string, words ...string) error {
	return write(folder, dir, strings.NewReplacer(words...))
}

// write writes one of the embedded folders below dir, with the words filled in.
func write(folder, dir string, words *strings.Replacer) error {
	root := "files/" + folder
	err := fs.WalkDir(files, root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := files.ReadFile(name)
		if err != nil {
			return err
		}
		target := filepath.Join(dir, filepath.FromSlash(strings.TrimPrefix(name, root+"/")))
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		return os.WriteFile(target, []byte(words.Replace(string(content))), 0o600)
	})
	if err != nil {
		return fmt.Errorf("bootstrapworld: write %s: %w", folder, err)
	}
	return nil
}
