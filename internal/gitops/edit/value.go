package edit

import (
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// writeServer plans the change of the server that is written to.
func (p *planner) writeServer(d *document, write store) error {
	server, err := d.field(write.mapping, serverName)
	if err != nil {
		return err
	}
	p.decides = true
	switch {
	case server.key != nil && server.value == nil:
		return &reason{line: d.source.lineOf(server.key), text: "serverName is empty"}
	case server.key == nil && write.fallback != p.from:
		return &reason{line: d.source.lineOf(write.key), text: fmt.Sprintf("it names no server, which means %s and not %s", write.fallback, p.from)}
	case server.key == nil:
		p.inserted = true
		return p.insert(d, write)
	case server.value.Kind == yaml.ScalarNode && server.value.Value == p.to:
		return nil
	}
	return p.replace(d, write.mapping, server.value, write.path+"."+serverName)
}

// replace plans the change of a scalar that is `from`, in its own style of quotes; holder is its mapping.
func (p *planner) replace(d *document, holder, node *yaml.Node, path string) error {
	refuse := func(text string) error { return &reason{line: d.source.lineOf(node), text: text} }
	if anchor := d.sharedBy(holder); anchor != "" || d.aliased[node.Anchor] {
		return refuse("it is shared through the anchor " + anchor + node.Anchor)
	}
	if node.Kind != yaml.ScalarNode {
		return refuse("serverName is no text")
	}
	if node.Value != p.from {
		return refuse(fmt.Sprintf("serverName is %q, neither %s nor %s", node.Value, p.from, p.to))
	}
	quote := ""
	switch node.Style {
	case 0:
	case yaml.DoubleQuotedStyle:
		quote = `"`
	case yaml.SingleQuotedStyle:
		quote = "'"
	default:
		return refuse("serverName has a tag or is a block of lines")
	}
	written := quote + p.from + quote
	line, start, ok := d.source.at(node)
	if ok && node.Anchor != "" {
		rest := strings.TrimPrefix(d.source.text.lines[line][start:], "&"+node.Anchor)
		start = len(d.source.text.lines[line]) - len(strings.TrimLeft(rest, " \t"))
	}
	if !ok || !strings.HasPrefix(d.source.text.lines[line][start:], written) {
		return refuse("serverName is written with escapes or over several lines")
	}
	if quote == "" && needsQuotes(p.to) {
		quote = `"`
	}
	intend := func() {
		node.Value = p.to
		if node.Style == 0 && quote != "" {
			node.Style, node.Tag = yaml.DoubleQuotedStyle, yaml.NodeTagString
		}
	}
	p.add(d, splice{line: line, start: start, end: start + len(written), text: quote + p.to + quote}, path, p.from, intend)
	return nil
}

// add records the change of a value.
func (p *planner) add(d *document, s splice, path, old string, intend func()) {
	placed := d.source.place(s)
	p.values = append(p.values, change{splice: placed, Change: Change{Line: placed.line + 1, Path: path, Old: old, New: p.to}, intend: intend})
}

// insert plans a serverName where there is none: a line behind the mapping's key, or a first pair in braces.
func (p *planner) insert(d *document, into store) error {
	refuse := func(text string) error { return &reason{line: d.source.lineOf(into.key), text: text} }
	if anchor := d.sharedBy(into.mapping); anchor != "" {
		return refuse("it is shared through the anchor " + anchor)
	}
	path, value := into.path+"."+serverName, p.to
	style := yaml.Style(0)
	if needsQuotes(value) {
		value, style = `"`+value+`"`, yaml.DoubleQuotedStyle
	}
	intend := func() {
		into.mapping.Content = append([]*yaml.Node{
			{Kind: yaml.ScalarNode, Tag: yaml.NodeTagString, Value: serverName},
			{Kind: yaml.ScalarNode, Tag: yaml.NodeTagString, Value: p.to, Style: style},
		}, into.mapping.Content...)
	}
	if into.mapping.Style&yaml.FlowStyle != 0 {
		line, start, ok := d.source.at(into.mapping)
		if !ok || !strings.HasPrefix(d.source.text.lines[line][start:], "{") {
			return refuse("the braces do not stand where serverName belongs")
		}
		text := serverName + ": " + value
		if len(into.mapping.Content) > 0 {
			text += ", "
		}
		p.add(d, splice{line: line, start: start + 1, end: start + 1, text: text}, path, "", intend)
		return nil
	}
	if len(into.mapping.Content) == 0 {
		return refuse("there is nothing to put serverName beside")
	}
	line, start, ok := d.source.at(into.mapping.Content[0])
	if !ok || line < into.key.Line || strings.Trim(d.source.text.lines[line][:start], " ") != "" {
		return refuse("the mapping begins on the line of its key")
	}
	text := d.source.text.lines[line][:start] + serverName + ": " + value
	p.add(d, splice{line: into.key.Line, text: text, newLine: true}, path, "", intend)
	return nil
}

// leftovers plans the change of external clusters that nothing refers to and that read `from` out of the
// same store. What can't be changed is a warning.
func (p *planner) leftovers(d *document, spec *yaml.Node, write store) {
	externals := read(spec, "externalClusters")
	if externals == nil || externals.Kind != yaml.SequenceNode {
		return
	}
	used := []string{
		readText(spec, "replica", "source"), readText(spec, "replica", "primary"), readText(spec, "replica", "self"),
		readText(spec, "bootstrap", "initdb", "import", "source", "externalCluster"),
	}
	for _, item := range externals.Content {
		reads := externalStore(item, p.target.Name)
		if reads == nil || slices.Contains(used, readText(item, "name")) {
			continue
		}
		server := serverOf(*reads)
		if same, _ := reads.isSame(write); !same || server != p.from {
			continue
		}
		if err := p.leftover(d, *reads); err != nil {
			p.warnings = append(p.warnings, fmt.Sprintf("external cluster %s still reads the server %s: %v", readText(item, "name"), p.from, err))
		}
	}
}

func (p *planner) leftover(d *document, reads store) error {
	if reads.mapping.Kind == yaml.AliasNode {
		return &reason{line: d.source.lineOf(reads.mapping), text: "it is an alias of an anchor"}
	}
	server, err := d.field(reads.mapping, serverName)
	if err != nil {
		return err
	}
	if server.key == nil {
		return p.insert(d, reads)
	}
	if server.value == nil {
		return &reason{line: d.source.lineOf(server.key), text: "serverName is empty"}
	}
	return p.replace(d, reads.mapping, server.value, reads.path+"."+serverName)
}

// externalStore is where an entry of externalClusters reads backups from, nil for one without.
func externalStore(item *yaml.Node, cluster string) *store {
	name := readText(item, "name")
	entry := resolved(item)
	if entry == nil || entry.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(entry.Content); i += 2 {
		key, value := entry.Content[i], entry.Content[i+1]
		switch {
		case key.Value == "barmanObjectStore" && !isNull(value):
			return &store{shape: inTree, mapping: value, key: key, path: "spec.externalClusters[" + name + "].barmanObjectStore", fallback: name}
		case key.Value == "plugin" && readText(value, "name") == pluginName:
			inner := resolved(value)
			for j := 0; j+1 < len(inner.Content); j += 2 {
				if inner.Content[j].Value == "parameters" {
					return &store{
						shape: plugin, mapping: inner.Content[j+1], key: inner.Content[j],
						path: "spec.externalClusters[" + name + "].plugin.parameters", fallback: cluster,
					}
				}
			}
		}
	}
	return nil
}

// serverOf is the server that a store means.
func serverOf(s store) string {
	if name := readText(s.mapping, serverName); name != "" {
		return name
	}
	return s.fallback
}

// needsQuotes reports whether YAML 1.1 or 1.2 would read a bare name as something else than text.
func needsQuotes(name string) bool {
	if name[0] >= '0' && name[0] <= '9' {
		return true
	}
	return slices.Contains([]string{"y", "n", "yes", "no", "on", "off", "true", "false", "null"}, strings.ToLower(name))
}
