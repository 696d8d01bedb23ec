package gitops

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/drctl/drctl/internal/recovery"
)

// changeMark is the comment that asks the platform's user to look.
const changeMark = "CHANGE:"

// Markers are the places that the platform's user has to change, by file and line: comments "# CHANGE: …", and values
// that are a placeholder, also where they stand in base64. Read are the files that Argo CD or drctl may read, and no
// documentation or script. Never a value is given, but the name of its key.
func (p *Platform) Markers(ctx context.Context) ([]recovery.Marker, error) {
	found := []recovery.Marker{}
	err := filepath.WalkDir(p.tree.root, func(path string, item fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, fs.ErrPermission):
			return nil // it was told of when the tree was opened
		case err != nil:
			return err
		case item.IsDir() && item.Name() == ".git":
			return fs.SkipDir
		case !item.Type().IsRegular() || !mayBeMarked(item.Name()) || isHuge(item):
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrPermission) {
			return err
		}
		if !isBinary(content) {
			found = append(found, markersIn(relative(p.tree.root, path), content)...)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for marks in %s: %w", p.tree.root, err)
	}
	return found, nil
}

// mayBeMarked: manifests, values, and what generators read.
func mayBeMarked(name string) bool {
	return slices.Contains([]string{".yaml", ".yml", ".json", ".env", ".properties", ".conf", ".toml", ".ini"}, filepath.Ext(name))
}

// markersIn reads one file line by line.
func markersIn(file string, content []byte) []recovery.Marker {
	var found []recovery.Marker
	var keys []outerKey
	number := 0
	for line := range bytes.Lines(content) {
		number++
		text, comment := parted(strings.TrimRight(string(line), "\r\n"))
		keys = nest(keys, text)
		if isPlaceholderLine(text) {
			found = append(found, recovery.Marker{File: file, Line: number, Value: true, Text: keyOfValue(text, keys)})
			continue
		}
		if _, asks, marked := strings.Cut(comment, changeMark); marked {
			found = append(found, recovery.Marker{File: file, Line: number, Text: strings.TrimSpace(asks)})
		}
	}
	return found
}

// parted parts a line into what stands before a comment and the comment. A # is one at the beginning or after a space,
// outside of quotes.
func parted(line string) (text, comment string) {
	var quote byte
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case quote == '"' && c == '\\', quote == '\'' && strings.HasPrefix(line[i:], "''"):
			i++ // what is escaped ends nothing
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case (c == '"' || c == '\'') && (i == 0 || strings.IndexByte(" \t:[{,=-", line[i-1]) >= 0):
			quote = c
		case c == '#' && (i == 0 || line[i-1] == ' ' || line[i-1] == '\t'):
			return line[:i], line[i+1:]
		}
	}
	return line, ""
}

// isPlaceholderLine: some value in it was never filled in. A value may be base64.
func isPlaceholderLine(text string) bool {
	if hasPlaceholder(text) {
		return true
	}
	const shortest = 12 // of CHANGE-ME in base64
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" \t\"',:{}[]", r) }) {
		if len(word) < shortest {
			continue
		}
		if decoded, err := base64.StdEncoding.DecodeString(word); err == nil && hasPlaceholder(string(decoded)) {
			return true
		}
	}
	return false
}

func hasPlaceholder(text string) bool {
	upper := strings.NewReplacer("_", "-", " ", "-").Replace(strings.ToUpper(text))
	return strings.Contains(upper, "CHANGE-ME") || strings.Contains(upper, "CHANGEME")
}

// outerKey is a key of YAML, or of NAME=VALUE, with its depth.
type outerKey struct {
	depth int
	name  string
}

// nest keeps the keys that a line stands below, and its own.
func nest(keys []outerKey, text string) []outerKey {
	bare := strings.TrimLeft(text, " \t")
	if bare == "" {
		return keys
	}
	depth := len(text) - len(bare)
	for strings.HasPrefix(bare, "- ") {
		bare = strings.TrimLeft(bare[2:], " ")
		depth += 2
	}
	name, isKey := keyOf(bare)
	if !isKey {
		return keys
	}
	for len(keys) > 0 && keys[len(keys)-1].depth >= depth {
		keys = keys[:len(keys)-1]
	}
	return append(keys, outerKey{depth, name})
}

// keyOf is the key at the beginning of a line, of the last pair in flow style.
func keyOf(text string) (string, bool) {
	if inner := strings.LastIndexAny(text, "{,"); inner >= 0 && strings.Contains(text[inner:], ":") {
		text = strings.TrimLeft(text[inner+1:], " ")
	}
	name, rest, isPair := strings.Cut(text, ":")
	if !isPair || rest != "" && rest[0] != ' ' && rest[0] != '\t' {
		if name, _, isPair = strings.Cut(text, "="); !isPair {
			return "", false
		}
	}
	name = strings.Trim(strings.TrimSpace(name), `"'`)
	return name, name != "" && !strings.ContainsAny(name, " \t{}[]") && !hasPlaceholder(name)
}

// keyOfValue is the NAME of the placeholder's NAME=VALUE, else the key that the line stands below.
func keyOfValue(text string, keys []outerKey) string {
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" \t\"',[]{}", r) }) {
		name, value, isPair := strings.Cut(word, "=")
		if isPair && name != "" && !hasPlaceholder(name) && hasPlaceholder(value) {
			return name
		}
	}
	if len(keys) == 0 {
		return ""
	}
	return keys[len(keys)-1].name
}
