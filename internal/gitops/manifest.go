package gitops

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"

	"github.com/drctl/drctl/internal/recovery"
)

// document is one YAML document of a file.
type document struct {
	text []byte
	// line is the number of the file's lines ahead of it.
	line int
}

// readManifests reads the objects of one YAML file; those ahead of a document that does not parse are
// returned with the error. A file that does not parse and can't hold an object, having no apiVersion or
// no kind, is no error.
func readManifests(root, path string) ([]unstructured.Unstructured, error) {
	what := "read " + relative(root, path)
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, &recovery.Problem{
			What: what, Why: "the file can't be read", Next: "check the permissions of the checkout",
			Err: errors.Join(recovery.ErrDenied, err),
		}
	}
	if isBinary(content) {
		return nil, nil
	}
	var objects []unstructured.Unstructured
	for _, part := range splitDocuments(content) {
		decoded, line, reason := decode(part.text)
		if reason != "" {
			if !bytes.Contains(content, []byte("apiVersion:")) || !bytes.Contains(content, []byte("kind:")) {
				return nil, nil
			}
			return objects, &recovery.Problem{
				What: fmt.Sprintf("%s:%d", what, part.line+max(line, 1)), Why: reason,
				Next: "correct the YAML; objects from there on are not known", Err: recovery.ErrDamaged,
			}
		}
		objects = append(objects, objectsOf(decoded)...)
	}
	return objects, nil
}

// splitDocuments cuts a file at its "---" lines, so that a parser's line numbers can be counted from the
// file's beginning.
func splitDocuments(content []byte) []document {
	var documents []document
	current := document{}
	number := 0
	for line := range bytes.Lines(content) {
		if bytes.HasPrefix(line, []byte("---")) && (len(bytes.TrimSpace(line)) == 3 || line[3] == ' ' || line[3] == '\t') {
			documents = append(documents, current)
			current = document{line: number}
			line = append([]byte("   "), line[3:]...) // what follows on the same line belongs to the document
		}
		current.text = append(current.text, line...)
		number++
	}
	return append(documents, current)
}

// decode parses one document. On failure it gives the line within the document (0 when unknown) and a
// reason that quotes no value, since the value may be a secret.
func decode(text []byte) (content map[string]any, line int, reason string) {
	if isDirectives(text) {
		return nil, 0, ""
	}
	encoded, err := yaml.YAMLToJSON(text)
	if err != nil {
		line, reason = parserMessage(err)
		return nil, line, reason
	}
	var value any
	if err := utiljson.Unmarshal(encoded, &value); err != nil {
		return nil, 0, "it is no YAML that JSON can express"
	}
	content, _ = value.(map[string]any)
	return content, 0, ""
}

// isDirectives reports whether a document holds nothing but %YAML and %TAG lines, comments and blanks.
func isDirectives(text []byte) bool {
	for line := range bytes.Lines(text) {
		if line = bytes.TrimSpace(line); len(line) > 0 && line[0] != '%' && line[0] != '#' {
			return false
		}
	}
	return true
}

// parserMessage takes the line and the text out of "yaml: line 3: mapping values are not allowed…". A
// message without a line may quote values and is replaced.
func parserMessage(err error) (int, string) {
	_, rest, found := strings.Cut(err.Error(), "yaml: line ")
	digits, text, cut := strings.Cut(rest, ": ")
	line, convErr := strconv.Atoi(digits)
	if !found || !cut || convErr != nil {
		return 0, "it is not YAML of an object"
	}
	return line, "it is not YAML: " + text
}

// objectsOf gives the Kubernetes objects of a document: none, itself, or the items of a list.
func objectsOf(content map[string]any) []unstructured.Unstructured {
	object := unstructured.Unstructured{Object: content}
	if content == nil || object.GetAPIVersion() == "" || object.GetKind() == "" {
		return nil
	}
	if items, isList := content["items"].([]any); isList && strings.HasSuffix(object.GetKind(), "List") {
		var objects []unstructured.Unstructured
		for _, item := range items {
			nested, _ := item.(map[string]any)
			objects = append(objects, objectsOf(nested)...)
		}
		return objects
	}
	if object.GetName() == "" {
		return nil
	}
	return []unstructured.Unstructured{object}
}

// isBinary reports whether a file is no text: it holds a NUL byte near its beginning, as Git decides.
func isBinary(content []byte) bool {
	return bytes.IndexByte(content[:min(len(content), 8000)], 0) >= 0
}

// isSealed reports whether SOPS encrypted a file including its kind, so that only its being there is known.
func isSealed(path string) bool {
	content, err := os.ReadFile(path)
	if err != nil || !bytes.Contains(content, []byte("sops:")) {
		return false
	}
	for _, part := range splitDocuments(content) {
		decoded, _, reason := decode(part.text)
		if kind, _ := decoded["kind"].(string); reason == "" && decoded["sops"] != nil && !isPlainKind(kind) {
			return true
		}
	}
	return false
}

// isPlainKind: SOPS leaves "ENC[…]" in place of a kind that it encrypted.
func isPlainKind(kind string) bool {
	return kind != "" && !strings.HasPrefix(kind, "ENC[")
}
