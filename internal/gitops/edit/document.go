package edit

import (
	"errors"
	"io"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// document is one parsed YAML document of a file.
type document struct {
	source source
	root   *yaml.Node // nil for an empty one
	// aliased are the anchors that an alias refers to; merged are those that are only taken into mappings
	// with a serverName of their own, which is the one that counts there.
	aliased, merged map[string]bool
	// broken is set when it does not parse.
	broken error
}

// documents cuts a file at its "---" lines and parses each part, so that one that does not parse hides
// nothing of the others.
func documents(content text) []document {
	var found []document
	start := 0
	for i := 0; i <= len(content.lines); i++ {
		if i < len(content.lines) && (i == start || !isSeparator(content.lines[i])) {
			continue
		}
		if part := content.lines[start:i]; len(part) > 0 {
			found = append(found, parse(source{text: text{lines: part}, first: start})...)
		}
		start = i
	}
	return found
}

func isSeparator(line string) bool {
	rest, found := strings.CutPrefix(withoutEnd(line), "---")
	return found && (rest == "" || rest[0] == ' ' || rest[0] == '\t')
}

// parse gives the documents of a part: one, or more where "..." ends one.
func parse(part source) []document {
	var found []document
	decoder := yaml.NewDecoder(strings.NewReader(strings.Join(part.text.lines, "")))
	for {
		var root yaml.Node
		err := decoder.Decode(&root)
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			return append(found, document{source: part, broken: err})
		}
		parsed := document{source: part, aliased: map[string]bool{}, merged: map[string]bool{}}
		if len(root.Content) == 1 {
			parsed.root = root.Content[0]
		}
		parsed.collectAliases(parsed.root)
		found = append(found, parsed)
	}
}

func (d *document) collectAliases(node *yaml.Node) {
	if node == nil {
		return
	}
	if node.Kind == yaml.AliasNode {
		d.aliased[node.Value] = true
	}
	hasOwn := node.Kind == yaml.MappingNode && slices.ContainsFunc(node.Content, func(n *yaml.Node) bool { return n.Value == serverName })
	for i, child := range node.Content {
		if hasOwn && i%2 == 1 && child.Kind == yaml.AliasNode && node.Content[i-1].ShortTag() == yaml.MergeTag {
			d.merged[child.Value] = true
			continue
		}
		d.collectAliases(child)
	}
}

// sharedBy is the anchor through which a change in the mapping that holds serverName would change another
// place too; empty when there is none.
func (d *document) sharedBy(holder *yaml.Node) string {
	var look func(node *yaml.Node) (anchor string, found bool)
	look = func(node *yaml.Node) (string, bool) {
		if node == holder {
			if d.aliased[node.Anchor] {
				return node.Anchor, true
			}
			return "", true
		}
		for _, child := range node.Content {
			anchor, found := look(child)
			if found && anchor == "" && (d.aliased[node.Anchor] || d.merged[node.Anchor]) {
				anchor = node.Anchor
			}
			if found {
				return anchor, true
			}
		}
		return "", false
	}
	anchor, _ := look(d.root)
	return anchor
}

// read gives a value of a mapping for looking only: through aliases, nil when it is not there.
func read(node *yaml.Node, keys ...string) *yaml.Node {
	for _, key := range keys {
		node = resolved(node)
		if node == nil || node.Kind != yaml.MappingNode {
			return nil
		}
		var value *yaml.Node
		for i := 0; i+1 < len(node.Content); i += 2 {
			if node.Content[i].Value == key {
				value = node.Content[i+1]
			}
		}
		node = value
	}
	return resolved(node)
}

// resolved follows an alias.
func resolved(node *yaml.Node) *yaml.Node {
	if node != nil && node.Kind == yaml.AliasNode {
		return node.Alias
	}
	return node
}

// readText is a scalar's text, empty when there is none.
func readText(node *yaml.Node, keys ...string) string {
	value := read(node, keys...)
	if value == nil || value.Kind != yaml.ScalarNode || value.ShortTag() == yaml.NodeTagNull {
		return ""
	}
	return value.Value
}

func isNull(node *yaml.Node) bool {
	return node == nil || (node.Kind == yaml.ScalarNode && node.ShortTag() == yaml.NodeTagNull)
}

// field is a pair of a mapping.
type field struct{ key, value *yaml.Node }

// field gives a pair that may be changed in place; no value when it is not there or null. What would
// make the text in place not the one that counts is a reason: aliases, merge keys, keys given twice.
func (d *document) field(mapping *yaml.Node, key string) (field, error) {
	if isNull(mapping) {
		return field{}, nil
	}
	if mapping.Kind != yaml.MappingNode {
		return field{}, &reason{line: d.source.lineOf(mapping), text: "a mapping is expected that may hold " + key}
	}
	var found field
	merged := false
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		name, value := mapping.Content[i], mapping.Content[i+1]
		switch {
		case name.ShortTag() == yaml.MergeTag:
			merged = true
		case name.Kind != yaml.ScalarNode || name.Value != key:
		case found.key != nil:
			return field{}, &reason{line: d.source.lineOf(name), text: key + " is given twice"}
		default:
			found = field{key: name, value: value}
		}
	}
	switch {
	case found.key == nil && merged:
		return field{}, &reason{line: d.source.lineOf(mapping), text: key + " may come through a merge key"}
	case found.key == nil:
		return field{}, nil
	case found.value.Kind == yaml.AliasNode:
		return field{}, &reason{line: d.source.lineOf(found.value), text: key + " is an alias of an anchor"}
	case isNull(found.value):
		return field{key: found.key}, nil
	}
	return found, nil
}

// path follows fields; ok is false when one is not there.
func (d *document) path(mapping *yaml.Node, keys ...string) (last field, ok bool, err error) {
	for _, key := range keys {
		last, err = d.field(mapping, key)
		if err != nil || last.value == nil {
			return field{}, false, err
		}
		mapping = last.value
	}
	return last, true, nil
}
