package edit

import (
	"errors"
	"regexp"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// inlinePatches plans the edits of the patches that stand in a kustomization file itself.
func (p *planner) inlinePatches(d *document) error {
	if p.commentsOnly {
		return nil // a comment within a patch is part of its text
	}
	for _, entry := range patchesOf(d.root, p.target) {
		patch, err := d.field(entry.node, "patch")
		if entry.node.Kind == yaml.ScalarNode {
			patch, err = field{value: entry.node}, nil
		}
		if err != nil {
			return err
		}
		if patch.value == nil || patch.value.Kind != yaml.ScalarNode || !strings.ContainsAny(patch.value.Value, "\n{") {
			continue
		}
		if err := p.nested(d, patch.value, entry.selected); err != nil {
			return err
		}
	}
	return nil
}

// patchEntry is one patch of a kustomization that may be for the target.
type patchEntry struct {
	node *yaml.Node
	// path is the patch's file; empty when it stands in the kustomization.
	path string
	// selected is set when the entry itself selects the target.
	selected bool
}

// patchesOf are the patches that select the target, or that say for themselves what they are for.
func patchesOf(root *yaml.Node, target Target) []patchEntry {
	var found []patchEntry
	for _, key := range []string{"patches", "patchesJson6902", "patchesStrategicMerge"} {
		list := read(root, key)
		if list == nil || list.Kind != yaml.SequenceNode {
			continue
		}
		for _, item := range list.Content {
			selector := read(item, "target")
			if selector == nil || selects(selector, target) {
				found = append(found, patchEntry{node: item, path: readText(item, "path"), selected: selector != nil})
			}
		}
	}
	return found
}

// selects reports whether a patch's target may be the Cluster; its fields are anchored expressions.
// Source: kustomize api/types/selector.go.
func selects(selector *yaml.Node, target Target) bool {
	wanted := map[string]string{"group": strings.TrimSuffix(group, "/"), "kind": target.Kind, "name": target.Name, "namespace": target.Namespace}
	for key, value := range wanted {
		expression := readText(selector, key)
		matched, err := regexp.MatchString("^(?:"+expression+")$", value)
		if expression != "" && (err != nil || !matched) {
			return false
		}
	}
	return true
}

// nested plans the edits of a patch that stands as a block of lines in a kustomization.
func (p *planner) nested(d *document, node *yaml.Node, selected bool) error {
	req := p.request
	req.kustomization, req.anyName, req.jsonPatch = false, selected, selected
	inner, err := edit([]byte(node.Value), req)
	if err != nil {
		var why *reason
		if errors.As(err, &why) && why.line > 0 {
			why.line += d.source.lineOf(node)
		}
		return err
	}
	p.decides = p.decides || inner.decides
	p.inserted = p.inserted || inner.inserted
	if inner.decides {
		p.shape = inner.shape
	}
	p.warnings = append(p.warnings, inner.warnings...)
	if len(inner.splices) == 0 {
		return nil
	}
	at, ok := blockSource(d.source, node)
	if d.sharedBy(node) != "" {
		return &reason{line: d.source.lineOf(node), text: "the patch is shared through an anchor", shape: inner.shape}
	}
	if !ok {
		return &reason{line: d.source.lineOf(node), text: "the patch is no block of lines begun with |", shape: inner.shape}
	}
	for i, s := range inner.splices {
		made := inner.changes[i]
		placed := d.source.place(at.place(s))
		made.Line = placed.line + 1
		p.values = append(p.values, change{splice: placed, Change: made, intend: func() { node.Value = inner.content }})
	}
	return nil
}

// blockSource is where the lines of a literal block stand in their document; ok is false when the text is
// not there line by line.
func blockSource(outer source, node *yaml.Node) (source, bool) {
	inner := split(node.Value)
	if node.Style != yaml.LiteralStyle || node.Line+len(inner.lines) > len(outer.text.lines) {
		return source{}, false
	}
	indent := -1
	for i, line := range inner.lines {
		line, written := withoutEnd(line), withoutEnd(outer.text.lines[node.Line+i])
		if line == "" {
			continue
		}
		if indent < 0 {
			indent = len(written) - len(line)
		}
		if indent < 0 || len(written) < indent || strings.Trim(written[:indent], " ") != "" || written[indent:] != line {
			return source{}, false
		}
	}
	return source{text: inner, first: node.Line, indent: max(indent, 0)}, true
}

// jsonPatchOf plans the edits of a JSON 6902 patch: of the operations that set the server.
func (p *planner) jsonPatchOf(d *document) error {
	for _, operation := range d.root.Content {
		if verb := readText(operation, "op"); verb != "add" && verb != "replace" {
			continue
		}
		path := readText(operation, "path")
		rest, form, ok := below(path)
		if !ok {
			continue
		}
		value, found, err := d.path(operation, append([]string{"value"}, rest...)...)
		if err != nil {
			return err
		}
		if !found {
			continue
		}
		p.decides, p.shape = true, form
		if value.value.Kind == yaml.ScalarNode && value.value.Value == p.to {
			continue
		}
		if err := p.replace(d, operation, value.value, strings.Join(append([]string{path}, rest...), "/")); err != nil {
			return err
		}
	}
	return nil
}

// below gives the keys from a JSON pointer down to the server's name; ok is false when that is not below it.
func below(pointer string) (rest []string, form shape, ok bool) {
	places := map[shape][]string{
		inTree: {"spec", "backup", "barmanObjectStore", serverName},
		plugin: {"spec", "plugins", "*", "parameters", serverName},
	}
	given := strings.Split(strings.TrimPrefix(pointer, "/"), "/")
	for form, place := range places {
		if len(given) > len(place) || (form == plugin && len(given) < 3) {
			continue
		}
		same := true
		for i, key := range given {
			same = same && (key == place[i] || place[i] == "*")
		}
		if same {
			return place[len(given):], form, true
		}
	}
	return nil, inTree, false
}
