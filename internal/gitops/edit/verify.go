package edit

import (
	"slices"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// sameDocuments compares two files by their trees; documents that do not parse must be equal as text.
func sameDocuments(a, b []document) bool {
	return slices.EqualFunc(a, b, func(x, y document) bool {
		if x.broken != nil || y.broken != nil {
			return x.broken != nil && y.broken != nil && slices.Equal(x.source.text.lines, y.source.text.lines)
		}
		return sameNode(x.root, y.root)
	})
}

// sameNode compares kinds, styles, tags, anchors and values; comments and places are left out.
func sameNode(a, b *yaml.Node) bool {
	if a == nil || b == nil {
		return a == b
	}
	if a.Kind != b.Kind || a.Style != b.Style || a.Value != b.Value || a.Anchor != b.Anchor || a.ShortTag() != b.ShortTag() {
		return false
	}
	return slices.EqualFunc(a.Content, b.Content, sameNode)
}
