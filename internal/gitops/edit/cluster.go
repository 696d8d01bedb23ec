package edit

import (
	"errors"
	"fmt"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

const (
	// group is the API group of CNPG; other APIs have a kind Cluster too.
	group      = "postgresql.cnpg.io/"
	pluginName = "barman-cloud.cloudnative-pg.io"
	serverName = "serverName"
)

// planner collects the edits of one text.
type planner struct {
	request
	values, comments []change
	warnings         []string
	matched          bool
	decides          bool
	inserted         bool
	shape            shape
}

// document plans the edits of one document, or of the items of a list.
func (p *planner) document(d *document) error {
	if d.broken != nil {
		if !mentions(d.source, p.target) {
			return nil
		}
		if hasTemplate(d.source) {
			return &reason{line: d.source.first + 1, text: "it is a template"}
		}
		return &reason{line: d.source.first + 1, text: "the document does not parse"}
	}
	switch {
	case p.kustomization && d.root != nil:
		return p.inlinePatches(d)
	case p.jsonPatch && d.root != nil && d.root.Kind == yaml.SequenceNode:
		return p.jsonPatchOf(d)
	}
	objects := []*yaml.Node{d.root}
	if items := read(d.root, "items"); items != nil && items.Kind == yaml.SequenceNode && strings.HasSuffix(readText(d.root, "kind"), "List") {
		objects = items.Content
	}
	for _, object := range objects {
		if !p.matches(object) {
			continue
		}
		if p.matched {
			return &reason{line: d.source.lineOf(object), text: "it is the second one of that name"}
		}
		p.matched = true
		if hasTemplate(d.source) {
			return &reason{line: d.source.lineOf(object), text: "it is a template"}
		}
		if err := p.cluster(d, object); err != nil {
			return p.shaped(err)
		}
	}
	return nil
}

// shaped adds the shape that was found to a reason.
func (p *planner) shaped(err error) error {
	var why *reason
	if errors.As(err, &why) {
		why.shape = p.shape
	}
	return err
}

// matches reports whether an object is the target.
func (p *planner) matches(object *yaml.Node) bool {
	namespace := readText(object, "metadata", "namespace")
	return strings.HasPrefix(readText(object, "apiVersion"), group) && readText(object, "kind") == p.target.Kind &&
		(p.anyName || readText(object, "metadata", "name") == p.target.Name) && (namespace == "" || namespace == p.target.Namespace)
}

// mentions reports whether a document that does not parse may be the target.
func mentions(s source, target Target) bool {
	kind, name := false, false
	for _, line := range s.text.lines {
		line = strings.TrimSpace(line)
		kind = kind || (strings.HasPrefix(line, "kind:") && strings.Contains(line, target.Kind))
		name = name || strings.Contains(line, target.Name) || strings.Contains(line, "{{")
	}
	return kind && name
}

// hasTemplate reports whether a document holds a template's braces outside comments.
func hasTemplate(s source) bool {
	for _, line := range s.text.lines {
		if !strings.HasPrefix(strings.TrimSpace(line), "#") && strings.Contains(line, "{{") {
			return true
		}
	}
	return false
}

// store is where a Cluster writes, or where an external cluster reads from.
type store struct {
	shape shape
	// mapping holds serverName.
	mapping *yaml.Node
	// key and its colon stand ahead of mapping.
	key *yaml.Node
	// path is where mapping is, for people.
	path string
	// fallback is the server where serverName is not given. Source: FACTS on serverName defaults; CNPG
	// api/v1 ExternalCluster.GetServerName.
	fallback string
}

// name is what identifies the store, and its endpoint; empty where the text does not say.
func (s store) name() (name, endpoint string) {
	if s.shape == plugin {
		return readText(s.mapping, "barmanObjectName"), ""
	}
	return strings.TrimRight(readText(s.mapping, "destinationPath"), "/"), strings.TrimRight(readText(s.mapping, "endpointURL"), "/")
}

// isSame compares two stores; known is false when they can't be compared, as an in-tree one and the plugin's.
func (s store) isSame(other store) (same, known bool) {
	name, endpoint := s.name()
	otherName, otherEndpoint := other.name()
	if s.shape != other.shape || name == "" || otherName == "" {
		return false, false
	}
	return name == otherName && (endpoint == otherEndpoint || endpoint == "" || otherEndpoint == ""), true
}

// cluster plans the edits of the target.
func (p *planner) cluster(d *document, object *yaml.Node) error {
	spec, ok, err := d.path(object, "spec")
	if err != nil {
		return err
	}
	if !ok {
		return nil
	}
	write, err := p.writeStore(d, spec.value)
	if err := errors.Join(p.bootstrap(d, spec.value), err); err != nil {
		return err
	}
	if write == nil {
		write = &store{} // one without a name, so that comments can't be compared with it
	} else if p.shape = write.shape; !p.commentsOnly {
		if err := p.writeServer(d, *write); err != nil {
			return err
		}
		p.leftovers(d, spec.value, *write)
	}
	p.commented(d, *write)
	return nil
}

// bootstrap refuses what would make the next recreation of the Cluster something else than initdb.
func (p *planner) bootstrap(d *document, spec *yaml.Node) error {
	bootstrap, ok, err := d.path(spec, "bootstrap")
	if err != nil || !ok {
		return err
	}
	for _, method := range []string{"recovery", "pg_basebackup"} {
		found, err := d.field(bootstrap.value, method)
		if err != nil {
			return err
		}
		if found.value != nil {
			return &reason{line: d.source.lineOf(found.key), text: fmt.Sprintf(
				"bootstrap.%s is live: whenever the Cluster is created anew it would go back to that; put initdb in its place first", method)}
		}
	}
	return nil
}

// writeStore finds where the Cluster writes; nil when the text does not say.
func (p *planner) writeStore(d *document, spec *yaml.Node) (*store, error) {
	inTreeStore, found, err := d.path(spec, "backup", "barmanObjectStore")
	if err != nil {
		return nil, err
	}
	pluginEntry, err := p.pluginEntry(d, spec)
	if err != nil {
		return nil, err
	}
	switch {
	case found && pluginEntry != nil:
		return nil, &reason{line: d.source.lineOf(pluginEntry), text: "backup.barmanObjectStore and the plugin are both set"}
	case found:
		return &store{shape: inTree, mapping: inTreeStore.value, key: inTreeStore.key, path: "spec.backup.barmanObjectStore", fallback: p.target.Name}, nil
	case pluginEntry == nil:
		return nil, nil
	}
	p.shape = plugin
	parameters, found, err := d.path(pluginEntry, "parameters")
	if err != nil || !found {
		return nil, err
	}
	return &store{shape: plugin, mapping: parameters.value, key: parameters.key, path: "spec.plugins[" + pluginName + "].parameters", fallback: p.target.Name}, nil
}

// pluginEntry is the entry of the plugin in spec.plugins, nil without.
func (p *planner) pluginEntry(d *document, spec *yaml.Node) (*yaml.Node, error) {
	plugins, ok, err := d.path(spec, "plugins")
	if err != nil {
		p.shape = plugin
		return nil, err
	}
	if !ok || plugins.value.Kind != yaml.SequenceNode {
		return nil, nil
	}
	var entry *yaml.Node
	for _, item := range plugins.value.Content {
		if readText(item, "name") != pluginName || readText(item, "enabled") == "false" {
			continue
		}
		p.shape = plugin
		if item.Kind == yaml.AliasNode {
			return nil, &reason{line: d.source.lineOf(item), text: "the plugin's entry is an alias of an anchor"}
		}
		if entry != nil {
			return nil, &reason{line: d.source.lineOf(item), text: "the plugin is listed twice"}
		}
		entry = item
	}
	return entry, nil
}
