package gitops

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSplitDocuments(t *testing.T) {
	tests := map[string]struct {
		content string
		lines   []int // lines ahead of each document
	}{
		"empty":                  {"", []int{0}},
		"one":                    {"a: 1\n", []int{0}},
		"two":                    {"a: 1\n---\nb: 2\n", []int{0, 1}},
		"separator first":        {"---\na: 1\n", []int{0, 0}},
		"Windows line ends":      {"a: 1\r\n---\r\nb: 2\r\n", []int{0, 1}},
		"comment and content":    {"a: 1\n--- # two\nb: 2\n--- {c: 3}\n", []int{0, 1, 3}},
		"no separator":           {"a: |\n  ---\n----\n---x\n", []int{0}},
		"no line end at the end": {"a: 1\n---", []int{0, 1}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			lines := []int{}
			for _, part := range splitDocuments([]byte(test.content)) {
				lines = append(lines, part.line)
			}
			require.Equal(t, test.lines, lines)
		})
	}
}

func TestDecode(t *testing.T) {
	tests := map[string]struct {
		text, kind string
		line       int
		reason     string
	}{
		"an object":             {"kind: A\n", "A", 0, ""},
		"nothing":               {"# only\n", "", 0, ""},
		"directives":            {"%YAML 1.2\n", "", 0, ""},
		"a list":                {"- kind: A\n", "", 0, ""},
		"a text":                {"canary\n", "", 0, ""},
		"not YAML":              {"kind: A\nb: c: canary\n", "", 2, "it is not YAML: mapping values are not allowed in this context"},
		"a key that JSON lacks": {"kind: A\n? [canary]\n: canary\n", "", 0, "it is not YAML of an object"},
		"an unknown anchor":     {"kind: *a\n", "", 0, "it is not YAML of an object"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			content, line, reason := decode([]byte(test.text))
			kind, _ := content["kind"].(string)
			require.Equal(t, test.kind, kind)
			require.Equal(t, test.line, line)
			require.Equal(t, test.reason, reason)
		})
	}
}

func FuzzDocuments(f *testing.F) {
	for _, seed := range []string{"a: 1\n---\nb: 2\n", "%YAML 1.1\n---\nkind: List\nitems: [{kind: x}]\n", "? [a]\n: b", "a: c: d", "--- {a: b}\n\x00"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		lines := 0
		for _, part := range splitDocuments(content) {
			require.Equal(t, lines, part.line)
			lines += bytes.Count(part.text, []byte("\n"))
			decoded, line, reason := decode(part.text)
			require.False(t, strings.ContainsAny(reason, "\n"))
			if reason == "" {
				require.Zero(t, line)
				for _, object := range objectsOf(decoded) {
					require.NotEmpty(t, object.GetKind())
					require.NotEmpty(t, object.GetName())
				}
			}
		}
	})
}
